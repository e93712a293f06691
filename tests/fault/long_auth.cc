// An AUTH as long as it may be, in parts, its worker killed at each step of gathering it: who is cut anywhere is
// known all the same.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_area.h"
#include "tests/support/framed_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;

namespace {

constexpr size_t kLongest = 4095;  // of a token: a control frame has 4,096 bytes
constexpr const char* kItsSum = "alice:7b333130df4931d9ecd344e5daac1b54ee93ef96db4eee6c6cf06bc14a0daf38\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(fault_long_auth)

BOOST_AUTO_TEST_CASE(an_auth_that_fits_no_small_buffer_with_its_header_outlives_its_workers) {
    FaultArea area;
    const TempDir folder;
    const TestDaemon daemon(DaemonOptions{
        .config = "workers: 1\nsupervisor: {respawn: {initial: 1ms, max: 1ms}}\n"
                  "listeners: {it: {listen: '127.0.0.1:0', framing: tcpd, handler: echo, auth: {methods: "
                  "[token], tokens: " +
                  folder.write("tokens", kItsSum) + "}}}\n",
        .environment = {area.environment()}});
    const std::string auth = frame_bytes(ControlType::auth, credential(std::string(kLongest, 's')));
    uint32_t deaths = 0;
    for (const fault::Point point :
         {fault::Point::recv_done_not_published, fault::Point::step_not_begun,
          fault::Point::journal_filled_not_published, fault::Point::journal_count_published_not_applied,
          fault::Point::journal_half_applied, fault::Point::journal_applied_not_idle}) {
        for (uint32_t pass = 1; pass <= 5; ++pass) {
            daemon.wait_complete(1);
            FramedClient client(daemon.address("it"));
            wait_for("it to be accepted", [&] { return daemon.count("it", "open") == 1; });
            const uint32_t before = area.acted(point);
            area.arm(point, fault::Action::kill, pass);
            size_t sent = 0;
            for (const size_t end : {size_t{7}, size_t{4090}, size_t{4096}, size_t{4100}, auth.size()}) {
                const uint32_t steps = area.passed(fault::Point::step_not_begun);
                client.send(std::string_view(auth).substr(sent, end - sent));
                sent = end;
                wait_for("it to be read", [&] { return area.passed(fault::Point::step_not_begun) > steps; });
            }
            BOOST_CHECK(client.receive_frame().is(ControlType::auth_ok));
            deaths += area.acted(point) - before;
            area.disarm();
            BOOST_CHECK(client.is_served());
            client.close();
            wait_for("its end", [&] { return daemon.count("it", "open") == 0; });
        }
    }
    BOOST_CHECK_GE(deaths, 20U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
