// Signals that a terminal or a service manager sends to every process, not only to the master.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kConfig =
    "workers: 1\nsupervisor: {respawn: {initial: 1ms, max: 2ms}}\n"
    "listeners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

constexpr int kIgnored[] = {SIGHUP,   SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2,
                            SIGWINCH, SIGTTIN, SIGTTOU, SIGTSTP, SIGPIPE};

}  // namespace

BOOST_AUTO_TEST_SUITE(signals)

BOOST_AUTO_TEST_CASE(worker_and_standby_ignore_what_is_not_for_them) {
    TestDaemon daemon(kConfig);
    BlockingClient client(daemon.address("echo"));
    for (int round = 0; round < 2; ++round) {
        const Pids pids = daemon.pids(0);
        BOOST_REQUIRE(pids.both());
        for (const int signal_number : kIgnored) {
            kill(pids.worker, signal_number);
            kill(pids.standby, signal_number);
        }
        kill(pids.standby, SIGTERM);
        BOOST_CHECK(client.echoes("hello"));
        BOOST_CHECK_EQUAL(daemon.pids(0).worker, pids.worker);
        BOOST_CHECK_EQUAL(daemon.pids(0).standby, pids.standby);
        BOOST_CHECK_NE(state_of(pids.worker), 'T');
        daemon.kill_worker(0);  // the next pair ignores them as well
    }
}

BOOST_AUTO_TEST_CASE(a_worker_told_term_is_succeeded) {
    TestDaemon daemon(kConfig);
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 4096, .piece = 1500}, 20);
    for (int i = 0; i < 10; ++i) {
        Pids before;
        peer.run_until("a pair", [&] { return (before = daemon.pids(0)).both(); });
        peer.run_bytes(100'000);
        kill(before.worker, SIGTERM);
        peer.run_until("the standby to succeed", [&] { return daemon.pids(0).worker == before.standby; });
    }
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(the_master_outlives_those_it_has_no_use_for) {
    TestDaemon daemon(kConfig);
    for (const int signal_number : {SIGHUP, SIGUSR1, SIGTTIN, SIGTTOU, SIGPIPE, SIGALRM}) {
        if (signal_number != SIGALRM) daemon.send(signal_number);
        BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
    }
    BOOST_CHECK_EQUAL(daemon.verb("status").exit, 0);
    BOOST_CHECK(!daemon.has_ended());
}

BOOST_AUTO_TEST_SUITE_END()
