// Workers die at the beginning of a drain and while it lasts: their successors go on draining, and accept
// nothing.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/fault_walk.h"
#include "tests/support/process_view.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

void drain_with(fault::Point point, uint32_t every) {
    FaultArea area;
    TestDaemon daemon(
        DaemonOptions{.config = "drain: {stop: 1m, spread: false}\n" + walk_config(echo, plain, ""),
                      .environment = {area.environment()}});
    const Address address = daemon.address("it");
    ExactPeer peer;
    peer.open(address, Plan{.up_bytes = kEndless, .window = 3000, .piece = 1000}, 10);
    peer.run_bytes(50'000);
    area.arm(point, fault::Action::kill, 1, every);
    daemon.send(SIGTERM);
    peer.run_until("the point to act", [&] { return area.acted(point) >= (every ? 3U : 1U); });
    area.disarm();
    peer.run_until("the listener to close", [&] { return sockets_in_state(address, kListening) == 0; });
    peer.run_bytes(50'000);
    BOOST_CHECK(!can_connect(address));
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(fault_drain)

BOOST_AUTO_TEST_CASE(dies_as_it_begins) { drain_with(fault::Point::drain_begun, 0); }

BOOST_AUTO_TEST_CASE(dies_as_it_begins_and_its_successors_too) { drain_with(fault::Point::drain_begun, 1); }

BOOST_AUTO_TEST_CASE(dies_while_it_lasts) { drain_with(fault::Point::recv_done_not_published, 200); }

BOOST_AUTO_TEST_SUITE_END()
