#include "master/status.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd;
using namespace tcpd::master;

namespace {

Status example() {
    ListenerTotals totals;
    totals.open = 3;
    totals.accepted = 15;
    totals.closed[static_cast<size_t>(slot::CloseReason::finished)] = 12;
    totals.refused[static_cast<size_t>(slot::RefuseReason::connections)] = 2;
    totals.adopted[static_cast<size_t>(slot::Cause::crash)] = 4;
    Status status{.version = "1.2.3",
                  .state = "serving",
                  .config_path = "/etc/tcpd/tcpd.yaml",
                  .pid = 99,
                  .uptime_ns = 61'200'000'000,
                  .descriptor_limit = 1024,
                  .connection_room = 900,
                  .memory_total = 1048576,
                  .memory_used = 69632,
                  .dropped_log_lines = 7,
                  .control_refused = 2};
    status.listeners = {{"echo", {"127.0.0.1:7000", "[::1]:7000"}, totals}, {"idle", {}, {}}};
    status.slots = {{.number = 0,
                     .worker = 123,
                     .standby = 124,
                     .state = "serving",
                     .image = 1,
                     .attempt = 0,
                     .uptime_ns = 12'345'000'000,
                     .seats = 4,
                     .counters = {{"standby_lost", 0}, {"recovered receiving", 3}}}};
    return status;
}

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(status)

BOOST_AUTO_TEST_CASE(lines_are_as_people_and_programs_read_them) {
    const std::string text = status_text(example());
    for (const char* line :
         {"tcpd version 1.2.3",
          "tcpd pid 99",
          "tcpd state serving",
          "tcpd uptime 61.2s",
          "tcpd config /etc/tcpd/tcpd.yaml",
          "tcpd descriptor_limit 1024",
          "tcpd connection_room 900",
          "tcpd memory_total 1048576",
          "tcpd memory_used 69632",
          "tcpd dropped_log_lines 7",
          "tcpd control_refused 2",
          "listener echo address 127.0.0.1:7000",
          "listener echo address [::1]:7000",
          "listener echo open 3",
          "listener echo accepted 15",
          "listener echo closed finished 12",
          "listener echo refused connections 2",
          "listener echo adopted crash 4",
          "slot 0 worker 123 standby 124 state serving image 1 attempt 0 uptime 12.3s seats 4",
          "slot 0 standby_lost 0",
          "slot 0 recovered receiving 3"}) {
        BOOST_TEST(has_line(text, line), line);
    }
}

BOOST_AUTO_TEST_CASE(the_promise_is_printed_even_as_0) {
    const std::string text = status_text(example());
    BOOST_TEST(has_line(text, "listener echo lost slot_lost 0"));
    BOOST_TEST(has_line(text, "listener echo lost crash 0"));
    BOOST_TEST(has_line(text, "listener idle adopted crash 0"));
    BOOST_TEST(has_line(text, "listener idle open 0"));
}

BOOST_AUTO_TEST_CASE(reasons_that_never_came_up_are_left_out) {
    const std::string text = status_text(example());
    BOOST_TEST(text.find("idle closed") == std::string::npos);
    BOOST_TEST(text.find("echo closed idle") == std::string::npos);
    BOOST_TEST(text.find("adopted reload") == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
