// The master is killed: its slots serve what they have and what is queued, take nothing new, and end; a new
// master can bind at once.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string config(const std::string& listen, const std::string& more = "") {
    return "workers: 2\n" + more + "listeners: {echo: {listen: '" + listen + "', handler: echo}}\n";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(master_lost)

BOOST_AUTO_TEST_CASE(connections_are_served_to_their_end) {
    TestDaemon daemon(config("127.0.0.1:0"));
    const Address address = daemon.address("echo");
    ExactPeer peer;
    peer.open(address, Plan{.up_bytes = kEndless, .window = 2000, .piece = 700}, 20);
    peer.run_bytes(100'000);
    daemon.expect_any_exit();
    daemon.send(SIGKILL);
    daemon.wait_exit();
    peer.run_until("the listeners to close", [&] { return sockets_in_state(address, kListening) == 0; });
    BOOST_CHECK(!can_connect(address));
    peer.run_bytes(500'000);

    TestDaemon next(config(address.text()));
    BOOST_CHECK(BlockingClient(address).echoes("to the new one"));
    peer.run_bytes(100'000);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    wait_for("the old processes to end", [&] { return daemon.processes().empty(); });
}

BOOST_AUTO_TEST_CASE(empty_slots_end_at_once) {
    TestDaemon daemon(config("127.0.0.1:0"));
    daemon.expect_any_exit();
    daemon.send(SIGKILL);
    wait_for("all processes to end", [&] { return daemon.processes().empty(); });
}

BOOST_AUTO_TEST_CASE(a_worker_that_dies_then_is_still_succeeded) {
    TestDaemon daemon(config("127.0.0.1:0", "supervisor: {respawn: {initial: 1ms, max: 2ms}}\n"));
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 2000, .piece = 700}, 20);
    peer.run_bytes(100'000);
    const Pids pids = daemon.pids(0);
    daemon.expect_any_exit();
    daemon.send(SIGKILL);
    daemon.wait_exit();
    peer.run_bytes(100'000);
    kill(pids.worker, SIGKILL);
    peer.run_bytes(500'000);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    wait_for("the old processes to end", [&] { return daemon.processes().empty(); });
}

BOOST_AUTO_TEST_CASE(what_stays_is_closed_at_drain_stop) {
    TestDaemon daemon(config("127.0.0.1:0", "drain: {stop: 500ms}\n"));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    daemon.expect_any_exit();
    daemon.send(SIGKILL);
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
    wait_for("all processes to end", [&] { return daemon.processes().empty(); });
}

BOOST_AUTO_TEST_SUITE_END()
