#include "daemon/base/log.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <boost/test/unit_test.hpp>
#include <thread>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "tests/unit/in_child.h"

using namespace tcpd;

namespace {

// The log goes to a file of the test's own until the test ends.
struct LogFile {
    LogFile() { start(log::Format::text); }
    ~LogFile() { log::start({}); }
    void start(log::Format format) {
        log::start({.level = log::Level::info, .format = format, .fd = file.get(), .who = "worker 7"});
    }
    std::string text() const {
        std::string whole(1 << 20, '\0');
        ssize_t bytes = pread(file.get(), whole.data(), whole.size(), 0);
        whole.resize(bytes > 0 ? static_cast<size_t>(bytes) : 0);
        return whole;
    }
    // Lines without the time in front, which is as long in each.
    std::vector<std::string> lines() const {
        std::vector<std::string> all;
        std::string whole = text();
        for (size_t at = 0; at < whole.size(); at = whole.find('\n', at) + 1) {
            all.push_back(whole.substr(at + 25, whole.find('\n', at) - at - 25));
        }
        return all;
    }
    std::string identity() const { return std::to_string(getpid()) + "/worker 7"; }
    UniqueFd file{memfd_create("log", MFD_CLOEXEC)};
};

class Lines : public log::LineBuffer {
public:
    explicit Lines(size_t room) : room_(room) {}
    char* reserve(size_t bytes) override {
        if (bytes > room_ - text_.size()) return nullptr;
        reserved_.resize(bytes);
        return reserved_.data();
    }
    void commit(size_t bytes) override { text_.append(reserved_, 0, bytes); }
    void flush() override {
        log::write_lines(text_);
        text_.clear();
    }
    const std::string& text() const { return text_; }

private:
    size_t room_;
    std::string reserved_, text_;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(log_, LogFile)

BOOST_AUTO_TEST_CASE(lines_say_who_and_how_grave) {
    log::info("listening on {}", "0.0.0.0:7000");
    log::warn("{} of {}", 1, 2);
    log::error("no");
    std::vector<std::string> expected = {"info " + identity() + " listening on 0.0.0.0:7000",
                                         "warn " + identity() + " 1 of 2", "error " + identity() + " no"};
    BOOST_TEST(lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(json_lines_have_the_keys) {
    start(log::Format::json);
    log::info("a \"b\"");
    std::string expected = R"(","level":"info","pid":)" + std::to_string(getpid()) +
                           R"(,"who":"worker 7","message":"a \"b\""})"
                           "\n";
    BOOST_TEST(text().starts_with(R"({"time":"20)"));
    BOOST_TEST(text().ends_with(expected));
}

BOOST_AUTO_TEST_CASE(levels_below_the_set_one_are_not_written) {
    log::debug("no");
    log::set_level(log::Level::debug);
    log::debug("yes");
    log::set_level(log::Level::off);
    log::error("no");
    std::vector<std::string> expected = {"debug " + identity() + " yes"};
    BOOST_TEST(lines() == expected, boost::test_tools::per_element());
    BOOST_TEST(!log::enabled(log::Level::critical));
}

BOOST_AUTO_TEST_CASE(levels_and_formats_have_names) {
    bool known = false;
    for (const char* name : {"trace", "debug", "info", "warn", "error", "critical", "off"}) {
        BOOST_TEST(log::name_of(log::level_from(name, &known)) == name);
        BOOST_TEST(known);
    }
    for (const char* name : {"", "warning", "INFO", "inf"}) {
        BOOST_TEST((log::level_from(name, &known) == log::Level::info));
        BOOST_TEST(!known);
    }
    BOOST_TEST(log::name_of(log::Format::text) == "text");
    BOOST_TEST(log::name_of(log::Format::json) == "json");
}

BOOST_AUTO_TEST_CASE(a_new_process_says_its_own_pid) {
    pid_t child = 0;
    siginfo_t info = test::run_in_child([] {
        log::set_who("standby 7");
        log::info("born");
        return 0;
    });
    child = info.si_pid;
    std::vector<std::string> expected = {"info " + std::to_string(child) + "/standby 7 born"};
    BOOST_TEST(lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(repeated_lines_are_limited_by_kind) {
    for (int i = 0; i < 10; ++i) log::limited(log::Level::warn, "log_test.accept", "no descriptors: {}", i);
    log::limited(log::Level::warn, "log_test.dial", "other");
    for (const uint32_t of : {1U, 2U, 2U})
        log::limited(log::Level::warn, {"log_test.refused", of}, "by {}", of);
    log::limited(log::Level::debug, "log_test.below", "not enabled");
    std::vector<std::string> expected = {"warn " + identity() + " no descriptors: 0",
                                         "warn " + identity() + " other", "warn " + identity() + " by 1",
                                         "warn " + identity() + " by 2"};
    BOOST_TEST(lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(lines_wait_in_the_buffer_until_it_is_flushed) {
    Lines buffer(1 << 16);
    log::set_buffer(&buffer);
    log::info("one");
    log::info("two");
    BOOST_TEST(text() == "");
    BOOST_TEST(buffer.text().ends_with("two\n"));
    log::flush();
    BOOST_TEST(lines().size() == 2U);
    BOOST_TEST(buffer.text() == "");
    log::set_buffer(nullptr);
}

BOOST_AUTO_TEST_CASE(grave_lines_take_those_before_them_along) {
    Lines buffer(1 << 16);
    log::set_buffer(&buffer);
    log::info("one");
    log::warn("two");
    std::vector<std::string> expected = {"info " + identity() + " one", "warn " + identity() + " two"};
    BOOST_TEST(lines() == expected, boost::test_tools::per_element());
    log::set_buffer(nullptr);
}

BOOST_AUTO_TEST_CASE(a_buffer_without_room_is_passed_in_order) {
    Lines buffer(100);
    log::set_buffer(&buffer);
    log::info("one");
    log::info("{}", std::string(200, 'x'));
    log::info("three");
    log::set_buffer(nullptr);
    BOOST_REQUIRE(lines().size() == 2U);
    BOOST_TEST(lines()[0].ends_with(" one"));
    BOOST_TEST(lines()[1].ends_with("xxx"));
    BOOST_TEST(buffer.text().ends_with(" three\n"));
}

BOOST_AUTO_TEST_CASE(lines_lost_to_a_full_disk_are_told) {
    UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
    uint64_t before = log::dropped_lines();
    log::start({.fd = full.get(), .who = "worker 7"});
    for (int i = 0; i < 3; ++i) log::info("lost");
    BOOST_TEST(log::dropped_lines() - before == 3U);
    dup3(file.get(), full.get(), O_CLOEXEC);
    log::info("there again");
    std::vector<std::string> expected = {
        "warn " + identity() + " log: 3 lines were dropped (No space left on device)",
        "info " + identity() + " there again"};
    BOOST_TEST(lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(threads_do_not_mingle_their_lines) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([t] {
            for (int i = 0; i < 200; ++i) log::info("{}", std::string(50, static_cast<char>('a' + t)));
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::vector<std::string> all = lines();
    BOOST_TEST(all.size() == 800U);
    for (const std::string& line : all) BOOST_TEST(line.ends_with(std::string(50, line.back())));
}

BOOST_AUTO_TEST_SUITE_END()
