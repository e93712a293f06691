// PONGs that wait for the end of a long reply, the worker killed at each store of the step that says them: they
// and what comes behind them are there once.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_area.h"
#include "tests/support/proxied_frames.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;

BOOST_AUTO_TEST_SUITE(fault_put_off)

BOOST_AUTO_TEST_CASE(pongs_and_the_next_reply_are_there_once) {
    FaultArea area;
    const PlayedUpstream upstream;
    const TestDaemon daemon(DaemonOptions{
        .config = proxy_config(upstream.text(), "", "supervisor: {respawn: {initial: 1ms, max: 1ms}}\n"),
        .environment = {area.environment()}});
    const Frame reply{kType, payload_of(150'000)}, next{kType, "the next"}, last{kType, "the last"};
    const std::string long_one = bytes_of({reply});
    constexpr size_t kEarly = 120'000;
    uint32_t deaths = 0;
    for (const fault::Point point :
         {fault::Point::step_not_begun, fault::Point::journal_filled_not_published,
          fault::Point::journal_count_published_not_applied, fault::Point::journal_half_applied,
          fault::Point::journal_applied_not_idle, fault::Point::flush_before,
          fault::Point::flush_done_not_published}) {
        for (uint32_t pass = 1; pass <= 5; ++pass) {
            daemon.wait_complete(1);
            FramedClient client(daemon.address("it"));
            FramedClient server = upstream.accept();
            server.send(long_one.substr(0, kEarly));
            BOOST_REQUIRE(client.receive(kEarly) == long_one.substr(0, kEarly));
            for (const char* name : {"a", "b"}) client.send_frame(ControlType::ping, name);
            client.send_frame(kType, "both are put off");
            BOOST_REQUIRE_EQUAL(server.receive_frame(), (Frame{kType, "both are put off"}));
            area.arm(point, fault::Action::kill, pass);
            server.send(long_one.substr(kEarly) + bytes_of({next}));
            BOOST_REQUIRE(client.receive(long_one.size() - kEarly) == long_one.substr(kEarly));
            for (const Frame& frame : {pong("a"), pong("b"), next})
                BOOST_REQUIRE_EQUAL(client.receive_frame(), frame);
            server.send(bytes_of({last}));
            BOOST_REQUIRE_EQUAL(client.receive_frame(), last);
            deaths += area.acted(point);
            area.disarm();
            client.close();
            server.expect_end();
            server.close();
            wait_for("its end", [&] { return daemon.count("it", "open") == 0; });
        }
    }
    BOOST_CHECK_GE(deaths, 20U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
