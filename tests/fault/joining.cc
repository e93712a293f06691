// Clients whose upstream is dialled once they are authenticated, their worker killed at each store of that:
// AUTH_OK comes first, also where the upstream is the first to speak.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_area.h"
#include "tests/support/proxied_frames.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;

BOOST_AUTO_TEST_SUITE(fault_joining)

BOOST_AUTO_TEST_CASE(nothing_of_the_upstream_comes_before_auth_ok) {
    FaultArea area;
    const TempDir folder;
    const PlayedUpstream upstream;
    const TestDaemon daemon(DaemonOptions{
        .config = proxy_config(upstream.text(),
                               ", auth: {methods: [token], tokens: " + folder.write("tokens", kTokens) + "}",
                               "supervisor: {respawn: {initial: 1ms, max: 1ms}}\n"),
        .environment = {area.environment()}});
    const Frame event{type_of(ControlType::push), "first"}, request{kType, "behind AUTH"};
    uint32_t deaths = 0;
    for (const fault::Point point :
         {fault::Point::dial_connected_not_published, fault::Point::journal_count_published_not_applied,
          fault::Point::journal_applied_not_idle, fault::Point::step_not_begun}) {
        for (uint32_t pass = 1; pass <= 6; ++pass) {
            daemon.wait_complete(1);
            FramedClient client(daemon.address("it"));
            wait_for("it to be accepted", [&] { return daemon.count("it", "open") == 1; });
            area.arm(point, fault::Action::kill, pass);
            client.send(frame_bytes(ControlType::auth, credential(kToken)) + bytes_of({request}));
            FramedClient server = upstream.accept();
            server.send(bytes_of({event}));
            BOOST_REQUIRE(client.receive_frame().is(ControlType::auth_ok));
            BOOST_CHECK_EQUAL(client.receive_frame(), event);
            BOOST_CHECK_EQUAL(server.receive_frame(), request);
            deaths += area.acted(point);
            area.disarm();
            client.close();
            server.expect_end();
            server.close();
            wait_for("its end", [&] { return daemon.count("it", "open") == 0; });
        }
    }
    BOOST_CHECK_GE(deaths, 8U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
