#include "daemon/base/log/line.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd::log;

namespace {

constexpr uint64_t kNoon = 1'795'521'600'123'456'789;  // 2026-11-24T12:00:00.123Z

struct Shape {
    Shape() { shape.set_identity(4711, "worker 0"); }
    std::string line(std::string_view message, Level level = Level::info, uint64_t at = kNoon) {
        Text text;
        shape.append(text, at, level, message);
        return fmt::to_string(text);
    }
    LineShape shape;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(log_line, Shape)

BOOST_AUTO_TEST_CASE(a_line_of_text) {
    BOOST_TEST(line("ready in 3 ms") == "2026-11-24T12:00:00.123Z info 4711/worker 0 ready in 3 ms\n");
    BOOST_TEST(line("x", Level::critical) == "2026-11-24T12:00:00.123Z critical 4711/worker 0 x\n");
    BOOST_TEST(line("") == "2026-11-24T12:00:00.123Z info 4711/worker 0 \n");
}

BOOST_AUTO_TEST_CASE(a_line_of_json) {
    shape.set_format(Format::json);
    BOOST_TEST(
        line("ready") ==
        R"({"time":"2026-11-24T12:00:00.123Z","level":"info","pid":4711,"who":"worker 0","message":"ready"})"
        "\n");
}

BOOST_AUTO_TEST_CASE(time_goes_on_from_second_to_second_and_over_the_year) {
    auto time_of = [this](uint64_t at) { return line("", Level::info, at).substr(0, 24); };
    BOOST_TEST(time_of(0) == "1970-01-01T00:00:00.000Z");
    BOOST_TEST(time_of(999'999'999) == "1970-01-01T00:00:00.999Z");
    BOOST_TEST(time_of(1'000'000'000) == "1970-01-01T00:00:01.000Z");
    BOOST_TEST(time_of(1'798'761'599'001'000'000) == "2026-12-31T23:59:59.001Z");
    BOOST_TEST(time_of(1'798'761'600'000'000'000) == "2027-01-01T00:00:00.000Z");
    BOOST_TEST(time_of(1'709'164'800'000'000'000) == "2024-02-29T00:00:00.000Z");
}

BOOST_AUTO_TEST_CASE(a_message_is_one_line_whatever_it_holds) {
    BOOST_TEST(line("a\nb\r\t\x1b[31m\x7f").substr(42) == "0 a\\nb\\r\\t\\x1b[31m\\x7f\n");
    BOOST_TEST(line("caf\xC3\xA9 \"q\" \\").substr(44) == "caf\xC3\xA9 \"q\" \\\n");
    BOOST_TEST(line("\xFF\xC3").substr(44) == "\\xff\\xc3\n");
}

BOOST_AUTO_TEST_CASE(json_stays_json_whatever_it_holds) {
    shape.set_format(Format::json);
    auto message = [this](std::string_view text) {
        std::string whole = line(text);
        return whole.substr(whole.find("\"message\":") + 10);
    };
    BOOST_TEST(message("a\n\"q\"\\") == "\"a\\n\\\"q\\\"\\\\\"}\n");
    BOOST_TEST(message(std::string_view("\0\x1b\x7f", 3)) == "\"\\u0000\\u001b\\u007f\"}\n");
    BOOST_TEST(message("\xC3\xA9\xF0\x9F\x98\x80") == "\"\xC3\xA9\xF0\x9F\x98\x80\"}\n");
    BOOST_TEST(message("\xFF\xC3") == "\"\\ufffd\\ufffd\"}\n");
    shape.set_identity(1, "a\"b");
    BOOST_TEST(line("x").find(R"("who":"a\"b")") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(long_messages_are_cut_between_characters) {
    std::string longest(kMostMessageBytes, 'x');
    BOOST_TEST(line(longest).size() == 44 + kMostMessageBytes + 1);
    BOOST_TEST(line(longest + "yy").ends_with("xxx... (2 bytes more)\n"));
    longest.resize(kMostMessageBytes - 1);
    BOOST_TEST(line(longest + "\xC3\xA9").ends_with("xxx... (2 bytes more)\n"));
    BOOST_TEST(line(std::string(kMostMessageBytes + 10, '\x80')).ends_with("bytes more)\n"));
}

BOOST_AUTO_TEST_SUITE_END()
