// A message that brings a worker down twice is its connection's last; an address whose messages do so again
// and again is refused for a while. Everybody else goes on.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/fault_area.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_quarantine)

BOOST_AUTO_TEST_CASE(a_poisonous_message_is_the_last) {
    FaultArea area;
    TestDaemon daemon(DaemonOptions{.config = "workers: 1\nsupervisor: {respawn: {initial: 1ms, max: 1ms}}\n"
                                              "listeners: {it: {listen: 127.0.0.1:0, handler: echo}}\n",
                                    .environment = {area.environment()}});
    const Address address = daemon.address("it");
    BlockingClient healthy(address);
    BOOST_CHECK(healthy.echoes("before"));
    for (size_t i = 1; i <= 3; ++i) {
        BlockingClient poisonous(address);
        area.arm(fault::Point::step_not_begun, fault::Action::segfault, 1, 1);
        poisonous.send("poison");
        wait_for("its end", [&] { return daemon.count_in_err("QUARANTINE") == i; });
        area.disarm();
        wait_for("a pair", [&] { return daemon.pids(0).both(); });
        BOOST_CHECK(healthy.echoes("between"));
    }
    BOOST_CHECK_EQUAL(daemon.count_in_err("is refused for the next ten"), 1U);
    BlockingClient refused(address);
    BOOST_CHECK_EQUAL(refused.receive_all(), "");
    BOOST_CHECK(healthy.echoes("after"));
    BOOST_CHECK_EQUAL(daemon.count("it", "closed quarantined"), 3U);
    wait_for("the refusal to be counted", [&] { return daemon.count("it", "refused quarantined") == 1; });
    BOOST_CHECK_EQUAL(daemon.count("it", "lost crash"), 0U);
}

// Deaths from outside say nothing about a message.
BOOST_AUTO_TEST_CASE(who_was_in_hand_when_workers_were_killed_goes_on) {
    FaultArea area;
    TestDaemon daemon(DaemonOptions{.config = "workers: 1\nsupervisor: {respawn: {initial: 1ms, max: 1ms}}\n"
                                              "listeners: {it: {listen: 127.0.0.1:0, handler: echo}}\n",
                                    .environment = {area.environment()}});
    BlockingClient client(daemon.address("it"));
    area.arm_two(fault::Point::step_not_begun, fault::Point::step_not_begun, fault::Action::kill);
    BOOST_CHECK(client.echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
