// A worker that hangs is ended by the watchdog, and its connections go on with the next one. A master that
// was itself stopped grants every worker a new interval.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kConfig =
    "workers: 1\nsupervisor: {watchdog: 1s}\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(hang)

BOOST_AUTO_TEST_CASE(a_stopped_worker_is_replaced) {
    TestDaemon daemon(kConfig);
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 2000, .piece = 500}, 10);
    peer.run_bytes(100'000);
    const Pids before = daemon.pids(0);
    BOOST_REQUIRE(before.both());
    kill(before.worker, SIGSTOP);
    peer.run_until("the next worker", [&] { return daemon.pids(0).worker == before.standby; });
    peer.run_bytes(100'000);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    BOOST_CHECK_GE(peer.results().longest_stall / 1ms, 500);
    BOOST_CHECK_LT(peer.results().longest_stall / 1ms, 10'000);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(an_idle_worker_is_not_taken_for_a_hanging_one) {
    TestDaemon daemon(kConfig);
    const Pids before = daemon.pids(0);
    BlockingClient client(daemon.address("echo"));
    const auto begin = SteadyClock::now();
    wait_for("three intervals", [&] { return SteadyClock::now() - begin > 3s; });
    BOOST_CHECK_EQUAL(daemon.pids(0).worker, before.worker);
    BOOST_CHECK(client.echoes("hello"));
}

BOOST_AUTO_TEST_CASE(a_stopped_master_blames_nobody) {
    TestDaemon daemon(kConfig);
    const Pids before = daemon.pids(0);
    daemon.send(SIGSTOP);
    // Every process stands still, as when a machine is paused.
    kill(before.worker, SIGSTOP);
    const auto begin = SteadyClock::now();
    wait_for("two intervals", [&] { return SteadyClock::now() - begin > 2s; });
    daemon.send(SIGCONT);
    kill(before.worker, SIGCONT);
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
    BOOST_CHECK_EQUAL(daemon.pids(0).worker, before.worker);
}

BOOST_AUTO_TEST_SUITE_END()
