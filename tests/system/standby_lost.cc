// A standby dies while its worker lives: the slot is renewed at once, with its connections.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

Pids kill_standby(const TestDaemon& daemon, unsigned slot) {
    const Pids before = daemon.pids(slot);
    BOOST_REQUIRE(before.both());
    kill(before.standby, SIGKILL);
    return before;
}

bool is_new_pair(const Pids& now, const Pids& before) { return now.both() && now.worker != before.worker; }

}  // namespace

BOOST_AUTO_TEST_SUITE(standby_lost)

BOOST_AUTO_TEST_CASE(the_only_slot_gets_a_new_pair_and_keeps_its_connections) {
    TestDaemon daemon("workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("before"));
    const Pids before = kill_standby(daemon, 0);
    wait_for("a new pair", [&] { return is_new_pair(daemon.pids(0), before); });
    BOOST_CHECK(client.echoes("after"));
    daemon.wait_complete(1);
    BOOST_CHECK_EQUAL(daemon.count("echo", "adopted fault_renewal"), 1U);
    BOOST_CHECK_EQUAL(daemon.count_in_err("without a standby"), 1U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(so_does_each_of_several_under_load) {
    TestDaemon daemon("workers: 3\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 4096, .piece = 1500}, 30);
    for (unsigned i = 0; i < 9; ++i) {
        const Pids before = kill_standby(daemon, i % 3);
        peer.run_until("a new pair", [&] { return is_new_pair(daemon.pids(i % 3), before); });
        peer.run_bytes(100'000);
    }
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    daemon.wait_complete(3);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_memory_fault_is_followed_by_a_renewal) {
    TestDaemon daemon("workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("before"));
    const uint64_t image = daemon.status().slots().at(0).image;
    kill(daemon.pids(0).worker, SIGSEGV);
    wait_for("another image", [&] { return daemon.status().slots().at(0).image != image; });
    BOOST_CHECK(client.echoes("after"));
    daemon.wait_complete(1);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
