#include "daemon/base/text.h"

#include <boost/test/unit_test.hpp>
#include <limits>

using namespace tcpd;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(text)

BOOST_AUTO_TEST_CASE(durations_have_a_unit) {
    BOOST_TEST((parse_duration("500ms") == 500ms));
    BOOST_TEST((parse_duration("30s") == 30s));
    BOOST_TEST((parse_duration("2m") == 2min));
    BOOST_TEST((parse_duration("1h") == 1h));
    BOOST_TEST((parse_duration("0") == 0ms));
    BOOST_TEST((parse_duration("0s") == 0ms));
    BOOST_TEST((parse_duration("87600h") == 87600h));
}

BOOST_AUTO_TEST_CASE(what_is_no_duration) {
    for (const char* text :
         {"", "30", "s", "-1s", "+1s", "1.5s", "1 s", " 1s", "1s ", "01s", "5 parsec", "1d", "1S", "1h30m",
          "0x10s", "87601h", "87600000000h", "99999999999999999999s", "1us"}) {
        BOOST_TEST(!parse_duration(text), text);
    }
}

BOOST_AUTO_TEST_CASE(sizes_have_a_unit) {
    BOOST_TEST(parse_size("512B").value() == 512U);
    BOOST_TEST(parse_size("64KiB").value() == 65536U);
    BOOST_TEST(parse_size("1MiB").value() == 1048576U);
    BOOST_TEST(parse_size("2GiB").value() == 2147483648U);
    BOOST_TEST(parse_size("0").value() == 0U);
    BOOST_TEST(parse_size("18446744073709551615B").value() == std::numeric_limits<uint64_t>::max());
    BOOST_TEST(parse_size("17179869183GiB").value() == 17179869183ULL << 30);
}

BOOST_AUTO_TEST_CASE(what_is_no_size) {
    for (const char* text : {"", "30", "64KB", "64kib", "64K", "B", "-1B", "1.5KiB", "1 KiB", "010B",
                             "17179869184GiB", "18446744073709551616B", "64KiB ", "KiB64"}) {
        BOOST_TEST(!parse_size(text), text);
    }
}

BOOST_AUTO_TEST_CASE(numbers_are_decimal_or_hexadecimal) {
    BOOST_TEST(parse_number("0").value() == 0U);
    BOOST_TEST(parse_number("7000").value() == 7000U);
    BOOST_TEST(parse_number("0x1F").value() == 31U);
    BOOST_TEST(parse_number("0xffffffffffffffff").value() == std::numeric_limits<uint64_t>::max());
    BOOST_TEST(parse_number("18446744073709551615").value() == std::numeric_limits<uint64_t>::max());
    for (const char* text : {"", "010", "00", "-1", "+1", "1.0", "1e3", " 1", "1 ", "0x", "0X1F", "0xg",
                             "0x-1", "ten", "18446744073709551616", "0x10000000000000000", ".inf", "0o17"}) {
        BOOST_TEST(!parse_number(text), text);
    }
}

BOOST_AUTO_TEST_CASE(what_is_formatted_reads_back) {
    BOOST_TEST(format_duration(90000ms) == "90s");
    BOOST_TEST(format_duration(1500ms) == "1500ms");
    BOOST_TEST(format_duration(3600s) == "1h");
    BOOST_TEST(format_duration(120s) == "2m");
    BOOST_TEST(format_duration(0ms) == "0");
    BOOST_TEST(format_size(65536) == "64KiB");
    BOOST_TEST(format_size(65537) == "65537B");
    BOOST_TEST(format_size(0) == "0");
    for (uint64_t value : {1ULL, 999ULL, 1000ULL, 1024ULL, 59'000ULL, 60'000ULL, 3'600'000ULL, 1ULL << 30}) {
        BOOST_TEST(parse_size(format_size(value)).value() == value);
        BOOST_TEST((parse_duration(format_duration(Duration(value))) == Duration(value)));
    }
}

BOOST_AUTO_TEST_CASE(elapsed_time_has_two_figures_that_matter) {
    BOOST_TEST(format_elapsed(0) == "0us");
    BOOST_TEST(format_elapsed(85'900) == "85us");
    BOOST_TEST(format_elapsed(3'290'000) == "3.2ms");
    BOOST_TEST(format_elapsed(3'000'000) == "3ms");
    BOOST_TEST(format_elapsed(320'900'000) == "320ms");
    BOOST_TEST(format_elapsed(9'999'000'000) == "9.9s");
    BOOST_TEST(format_elapsed(41'900'000'000) == "41s");
    BOOST_TEST(format_elapsed(120'000'000'000) == "2m");
    BOOST_TEST(format_elapsed(7'505'000'000'000) == "2h5m");
    BOOST_TEST(format_elapsed(90'000'000'000'000) == "1d1h");
}

BOOST_AUTO_TEST_CASE(a_slip_finds_its_word) {
    std::vector<std::string_view> keys = {"workers", "listeners", "upstreams", "timeouts",
                                          "idle",    "tls",       "no"};
    BOOST_TEST(nearest("worker", keys).value() == "workers");
    BOOST_TEST(nearest("lisetners", keys).value() == "listeners");
    BOOST_TEST(nearest("idel", keys).value() == "idle");
    BOOST_TEST(nearest("on", keys).value() == "no");  // a swap is one edit, or nothing would be left of it
    BOOST_TEST(nearest("timeout", keys).value() == "timeouts");
    BOOST_TEST(nearest("workers", keys).value() == "workers");
}

BOOST_AUTO_TEST_CASE(what_is_far_from_all_finds_none) {
    std::vector<std::string_view> keys = {"workers", "idle", "tls", "no"};
    for (const char* word : {"", "x", "xy", "frobnicate", "backlog"}) BOOST_TEST(!nearest(word, keys), word);
    BOOST_TEST(!nearest("idle", {}));
    BOOST_TEST(!nearest(std::string(100'000, 'a'), keys));
}

BOOST_AUTO_TEST_CASE(the_nearest_of_several_wins_and_the_first_of_equals) {
    BOOST_TEST(nearest("output_hig", {"output_low", "output_high"}).value() == "output_high");
    BOOST_TEST(nearest("cat", {"bat", "rat"}).value() == "bat");
}

BOOST_AUTO_TEST_CASE(utf8_characters_are_told_from_rubbish) {
    BOOST_TEST(utf8_character("a") == 1U);
    BOOST_TEST(utf8_character("\xC3\xA9x") == 2U);
    BOOST_TEST(utf8_character("\xE2\x82\xAC") == 3U);
    BOOST_TEST(utf8_character("\xF0\x9F\x98\x80") == 4U);
    BOOST_TEST(utf8_character("\xF4\x8F\xBF\xBF") == 4U);
    for (const char* bad :
         {"", "\x80", "\xC3", "\xC3(", "\xC0\xAF", "\xE0\x80\xAF", "\xE2\x82", "\xED\xA0\x80",
          "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
        BOOST_TEST(utf8_character(bad) == 0U);
    }
}

BOOST_AUTO_TEST_CASE(words_are_joined) {
    const std::vector<std::string_view> none, one = {"drain"}, three = {"reload", "drain", "stop"};
    BOOST_TEST(joined(none, ", ").empty());
    BOOST_TEST(joined(one, ", ") == "drain");
    BOOST_TEST(joined(three, " | ") == "reload | drain | stop");
}

BOOST_AUTO_TEST_CASE(quoting_makes_anything_one_readable_line) {
    BOOST_TEST(quoted("plain") == R"("plain")");
    BOOST_TEST(quoted("a\"b\\c") == R"("a\"b\\c")");
    BOOST_TEST(quoted(std::string_view("\n\r\t\0\x1b\x7f", 6)) == R"("\n\r\t\x00\x1b\x7f")");
    BOOST_TEST(quoted("caf\xC3\xA9 \xFF \xC2\x9B") == "\"caf\xC3\xA9 \\xff \\xc2\\x9b\"");
}

BOOST_AUTO_TEST_CASE(quoting_cuts_what_is_long_between_characters) {
    BOOST_TEST(quoted("123456789", 9) == R"("123456789")");
    BOOST_TEST(quoted("1234567890", 9) == R"("123456...")");
    BOOST_TEST(quoted("12345\xC3\xA9\xC3\xA9\xC3\xA9", 9) == R"("12345...")");
    BOOST_TEST(quoted(std::string(9, '\0'), 9) == R"("\x00...")");
    BOOST_TEST(quoted(std::string(1000, 'x')).size() == 202U);
    BOOST_TEST(quoted("abc", 2) == R"("..")");
}

BOOST_AUTO_TEST_SUITE_END()
