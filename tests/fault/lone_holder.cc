// A successor that dies before it has a standby: the one instant in which a slot is lost. Its connections
// are, counted and logged; the next ones are served at once.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/fault_walk.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

void lose_slot_at(fault::Point point) {
    FaultArea area;
    TestDaemon daemon(
        DaemonOptions{.config = walk_config(echo, plain, ""), .environment = {area.environment()}});
    const Address address = daemon.address("it");
    BlockingClient first(address), second(address);
    BOOST_CHECK(first.echoes("hello") && second.echoes("hello"));
    const Pids pids = daemon.pids(0);
    BOOST_REQUIRE(pids.both());
    area.arm(point, fault::Action::kill);
    kill(pids.worker, SIGKILL);
    BOOST_CHECK(first.wait_end() != Ending::timed_out);
    BOOST_CHECK(second.wait_end() != Ending::timed_out);
    BOOST_CHECK_EQUAL(area.acted(point), 1U);
    wait_for("the loss to be counted", [&] { return daemon.count("it", "lost slot_lost") == 2; });
    BOOST_CHECK(BlockingClient(address).echoes("a new one"));
    daemon.wait_complete(1);
    wait_for("the renewals to end", [&] { return daemon.processes().size() == 3; });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(fault_lone_holder)

BOOST_AUTO_TEST_CASE(dies_before_it_settled) { lose_slot_at(fault::Point::seat_taken_not_settled); }

BOOST_AUTO_TEST_CASE(dies_before_its_clone) { lose_slot_at(fault::Point::settle_done_not_cloned); }

BOOST_AUTO_TEST_SUITE_END()
