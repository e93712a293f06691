// `handler: {proxy: NAME}`: bytes both ways, the next server when one refuses, and no server blamed for our
// own faults.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string config(const std::string& servers, const std::string& more = "") {
    return "workers: 2\nlisteners: {front: {listen: 127.0.0.1:0, handler: {proxy: back}}}\n"
           "upstreams: {back: {servers: [" +
           servers + "]" + more + "}}\n";
}

void run(const Address& front, const Plan& plan, unsigned count) {
    ExactPeer peer;
    peer.open(front, plan, count);
    peer.finish();
    check_all_finished(peer.results());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(proxy)

BOOST_AUTO_TEST_CASE(questions_and_answers) {
    const FakeUpstream upstream;
    TestDaemon daemon(config(upstream.text()));
    run(daemon.address("front"), {.up_bytes = 50'000, .window = 300, .piece = 300}, 100);
    BOOST_CHECK_EQUAL(upstream.settled().accepted, 100U);
    BOOST_CHECK_EQUAL(upstream.settled().wrong, 0U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(bulk_each_way_and_both_ways) {
    const FakeUpstream upstream;
    TestDaemon daemon(config(upstream.text()));
    const Address front = daemon.address("front");
    run(front, {.far = Role::sink, .up_bytes = 16 << 20, .piece = 64 * 1024}, 3);
    run(front, {.far = Role::source, .up_bytes = 100, .down_bytes = 16 << 20, .piece = 64 * 1024}, 3);
    run(front, {.far = Role::source, .up_bytes = 8 << 20, .down_bytes = 8 << 20, .ends_at_once = true}, 3);
    const UpstreamResults results = upstream.settled();
    BOOST_CHECK_EQUAL(results.received, 3ULL * (16 << 20) + 300 + 3ULL * (8 << 20));
    BOOST_CHECK_EQUAL(results.sent, 3ULL * (16 << 20) + 3ULL * (8 << 20));
    BOOST_CHECK_EQUAL(results.wrong + results.reset + results.early_end, 0U);
}

BOOST_AUTO_TEST_CASE(a_server_that_speaks_first) {
    const FakeUpstream upstream;
    TestDaemon daemon(config(upstream.text()));
    ExactPeer peer;
    peer.open(daemon.address("front"), Plan{.far = Role::source, .up_bytes = 40, .down_bytes = 5000}, 20);
    peer.finish();
    check_all_finished(peer.results());
}

BOOST_AUTO_TEST_CASE(unix_sockets_on_both_sides) {
    const TempDir directory;
    const FakeUpstream upstream({.unix_path = directory / "up.sock"});
    TestDaemon daemon(
        "workers: 2\nlisteners: {front: {listen: 'unix:$DIR/front.sock', handler: {proxy: back}}}\n"
        "upstreams: {back: {servers: ['" +
        upstream.text() + "']}}\n");
    run(daemon.address("front"), {.up_bytes = 1 << 20}, 10);
    run(daemon.address("front"), {.far = Role::source, .up_bytes = 100, .down_bytes = 4 << 20}, 3);
}

BOOST_AUTO_TEST_CASE(the_next_server_when_one_refuses) {
    const RefusingPort refusing;
    const FakeUpstream upstream;
    TestDaemon daemon(config(refusing.text() + ", " + upstream.text() + ", 'unix:/nowhere/up.sock'"));
    run(daemon.address("front"), {.up_bytes = 1000}, 30);
    BOOST_CHECK_EQUAL(upstream.settled().finished, 30U);
}

BOOST_AUTO_TEST_CASE(servers_take_turns) {
    const FakeUpstream first, second;
    TestDaemon daemon(config(first.text() + ", " + second.text()));
    run(daemon.address("front"), {.up_bytes = 1000}, 40);
    BOOST_CHECK_GE(first.settled().accepted, 15U);
    BOOST_CHECK_GE(second.settled().accepted, 15U);
}

BOOST_AUTO_TEST_CASE(the_next_server_when_one_does_not_answer) {
    const SilentPort silent;
    const FakeUpstream upstream;
    TestDaemon daemon(config(silent.text() + ", " + upstream.text(), ", timeouts: {dial: 500ms}"));
    run(daemon.address("front"), {.up_bytes = 1000}, 4);
    BOOST_CHECK_EQUAL(upstream.settled().finished, 4U);
}

BOOST_AUTO_TEST_CASE(no_server_answers) {
    const SilentPort silent;
    TestDaemon daemon(config(silent.text(), ", timeouts: {dial: 200ms}"));
    BlockingClient client(daemon.address("front"));
    client.send("is anybody there");
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
    wait_for("the count", [&] { return daemon.count("front", "closed upstream_timeout") == 1; });
}

BOOST_AUTO_TEST_CASE(every_server_refuses_and_then_one_is_back) {
    const TempDir directory;
    const std::string path = directory / "up.sock";
    const RefusingPort refusing;
    TestDaemon daemon(config("'unix:" + path + "', " + refusing.text()));
    BlockingClient client(daemon.address("front"));
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
    wait_for("the count", [&] { return daemon.count("front", "closed upstream_refused") == 1; });

    const FakeUpstream upstream({.unix_path = path});
    run(daemon.address("front"), {.up_bytes = 1000}, 10);
    BOOST_CHECK_EQUAL(daemon.count("front", "closed upstream_refused"), 1U);
}

BOOST_AUTO_TEST_CASE(a_client_that_leaves_while_its_server_is_dialled) {
    const SilentPort silent;
    TestDaemon daemon(config(silent.text(), ", timeouts: {dial: 500ms}"));
    BlockingClient(daemon.address("front")).reset();
    BlockingClient(daemon.address("front")).close();
    wait_for("both to be closed", [&] {
        const Status status = daemon.status();
        return status.count("front", "accepted") == 2 && status.count("front", "open") == 0;
    });
}

BOOST_AUTO_TEST_SUITE_END()
