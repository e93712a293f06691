// timeouts.idle and timeouts.closing, also over the death of the worker that set the deadline.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kIdle =
    "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, timeouts: {idle: 500ms}, handler: echo}}\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(timeouts)

BOOST_AUTO_TEST_CASE(an_idle_connection_is_closed) {
    TestDaemon daemon(kIdle);
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    const auto begin = SteadyClock::now();
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    BOOST_CHECK_GE((SteadyClock::now() - begin) / 1ms, 450);
    wait_for("the count", [&] { return daemon.count("echo", "closed idle") == 1; });
}

BOOST_AUTO_TEST_CASE(a_busy_one_is_kept) {
    TestDaemon daemon(kIdle);
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 64, .piece = 64});
    const auto begin = SteadyClock::now();
    peer.run_until("three times the limit", [&] { return SteadyClock::now() - begin > 1500ms; });
    BOOST_CHECK_EQUAL(peer.open_count(), 1U);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
}

BOOST_AUTO_TEST_CASE(a_successor_keeps_the_deadline) {
    TestDaemon daemon(kIdle);
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    daemon.kill_worker(0);
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    wait_for("the count", [&] { return daemon.count("echo", "closed idle") == 1; });
    BOOST_CHECK_EQUAL(daemon.count("echo", "adopted crash"), 1U);
}

BOOST_AUTO_TEST_CASE(both_ends_of_a_pair_are_closed) {
    const FakeUpstream upstream;
    TestDaemon daemon(
        "workers: 1\nlisteners: {front: {listen: 127.0.0.1:0, timeouts: {idle: 300ms}, handler: {proxy: "
        "back}}}\n"
        "upstreams: {back: {servers: [" +
        upstream.text() + "]}}\n");
    BlockingClient client(daemon.address("front"));
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    BOOST_CHECK_EQUAL(upstream.settled().accepted, 1U);
    BOOST_CHECK_EQUAL(daemon.count("front", "open"), 0U);
}

BOOST_AUTO_TEST_SUITE_END()
