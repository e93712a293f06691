// SIGTERM drains: nothing new, what is there may end by itself up to drain.stop, then the rest is closed; a
// second one stops at once, as SIGINT does.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string config(const std::string& drain) {
    return "workers: 2\ndrain: " + drain + "\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(drain)

BOOST_AUTO_TEST_CASE(connections_end_by_themselves) {
    for (const int signal_number : {SIGTERM, SIGQUIT}) {
        TestDaemon daemon(config("{stop: 1m, spread: false}"));
        const Address address = daemon.address("echo");
        ExactPeer peer;
        peer.open(address, Plan{.up_bytes = kEndless, .window = 2000, .piece = 700}, 20);
        peer.run_bytes(100'000);
        daemon.send(signal_number);
        peer.run_until("the listeners to close", [&] { return sockets_in_state(address, kListening) == 0; });
        BOOST_CHECK(!can_connect(address));
        peer.run_bytes(200'000);
        BOOST_CHECK(!daemon.has_ended());
        peer.wind_down();
        peer.finish();
        check_all_finished(peer.results());
        BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
    }
}

BOOST_AUTO_TEST_CASE(an_empty_daemon_ends_at_once) {
    TestDaemon daemon(config("{stop: 1m}"));
    const auto begin = SteadyClock::now();
    daemon.send(SIGTERM);
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
    BOOST_CHECK_LT((SteadyClock::now() - begin) / 1ms, 5000);
    BOOST_CHECK_EQUAL(read_text(daemon.directory() / "tcpd.pid"), "");  // removed
}

// A look at a set time would ask of the test that it runs at that time.
BOOST_AUTO_TEST_CASE(what_stays_is_closed_in_the_second_half) {
    TestDaemon daemon(config("{stop: 2s, spread: true}"));
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < 40; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(daemon.address("echo")));
        BOOST_REQUIRE(clients.back()->echoes("hello"));
    }
    const auto begin = SteadyClock::now();
    daemon.send(SIGTERM);
    std::vector<int64_t> ended_ms;
    wait_for("all to be closed", [&] {
        const auto ended =
            std::count_if(clients.begin(), clients.end(), [](auto& client) { return client->has_input(); });
        ended_ms.resize(static_cast<size_t>(ended), (SteadyClock::now() - begin) / 1ms);
        return ended_ms.size() == clients.size();
    });
    BOOST_CHECK_GE(ended_ms.front(), 1000);
    BOOST_CHECK_GE(ended_ms.back() - ended_ms.front(), 200);
    BOOST_TEST_MESSAGE("closed from " << ended_ms.front() << " to " << ended_ms.back() << " ms");
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
    for (const auto& client : clients) BOOST_CHECK(client->wait_end() == Ending::orderly);
}

BOOST_AUTO_TEST_CASE(without_spread_all_are_closed_at_the_end) {
    TestDaemon daemon(config("{stop: 700ms, spread: false}"));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    const auto begin = SteadyClock::now();
    daemon.send(SIGTERM);
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
    BOOST_CHECK_GE((SteadyClock::now() - begin) / 1ms, 650);
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(a_second_signal_stops_at_once) {
    TestDaemon daemon(config("{stop: 1m, spread: false}"));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    const Address address = daemon.address("echo");
    daemon.send(SIGTERM);
    wait_for("the drain to begin", [&] { return sockets_in_state(address, kListening) == 0; });
    BOOST_CHECK(client.echoes("still there"));
    daemon.send(SIGTERM);
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(interrupt_stops_at_once) {
    TestDaemon daemon(config("{stop: 1m}"));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    daemon.send(SIGINT);
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
}

BOOST_AUTO_TEST_CASE(verb_stop_waits_for_the_end) {
    TestDaemon daemon(config("{stop: 500ms, spread: false}"));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    const Output output = daemon.verb("stop");
    BOOST_CHECK_MESSAGE(output.exit == 0, output.err);
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
    BOOST_CHECK_EQUAL(daemon.verb("status").exit, 69);
}

BOOST_AUTO_TEST_CASE(a_worker_that_dies_meanwhile_is_succeeded) {
    TestDaemon daemon(
        "workers: 1\nsupervisor: {respawn: {initial: 1ms, max: 2ms}}\ndrain: {stop: 1m, spread: false}\n"
        "listeners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    ExactPeer peer;
    const Address address = daemon.address("echo");
    peer.open(address, Plan{.up_bytes = kEndless, .window = 2000, .piece = 700}, 20);
    peer.run_bytes(100'000);
    daemon.send(SIGTERM);
    peer.run_until("the listeners to close", [&] { return sockets_in_state(address, kListening) == 0; });
    for (int i = 0; i < 3; ++i) {
        Pids before;
        peer.run_until("a pair", [&] { return (before = daemon.pids(0)).both(); });
        kill(before.worker, SIGKILL);
        peer.run_bytes(200'000);
    }
    BOOST_CHECK(!can_connect(address));
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(the_accept_queue_is_emptied_first) {
    TestDaemon daemon(
        "workers: 1\nsupervisor: {watchdog: 0}\ndrain: {stop: 1m, spread: false}\n"
        "listeners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    const Pids pids = daemon.pids(0);
    kill(pids.worker, SIGSTOP);  // so that connections wait in the queue
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < 50; ++i) clients.push_back(std::make_unique<BlockingClient>(address));
    daemon.send(SIGTERM);
    kill(pids.worker, SIGCONT);
    for (const auto& client : clients) BOOST_CHECK(client->echoes("hello"));
    clients.clear();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_SUITE_END()
