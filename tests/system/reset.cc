// A reset is passed on as one, and ends nothing else.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string config(const FakeUpstream& upstream) {
    return "workers: 1\nlisteners: {front: {listen: 127.0.0.1:0, handler: {proxy: back}}}\n"
           "upstreams: {back: {servers: [" +
           upstream.text() + "]}}\n";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reset)

BOOST_AUTO_TEST_CASE(of_a_client_reaches_the_server) {
    const FakeUpstream upstream;
    TestDaemon daemon(config(upstream));
    BlockingClient client(daemon.address("front")), other(daemon.address("front"));
    client.send(Hello().bytes());
    client.receive(sizeof(Hello));
    client.reset();
    wait_for("the server to see it", [&] { return upstream.results().reset == 1; });
    wait_for("the count", [&] { return daemon.count("front", "closed peer_reset") == 1; });
    const std::string hello = Hello().bytes();
    BOOST_CHECK(other.echoes(hello));
}

BOOST_AUTO_TEST_CASE(of_a_server_reaches_the_client) {
    const FakeUpstream upstream;
    TestDaemon daemon(config(upstream));
    BlockingClient client(daemon.address("front"));
    Hello hello;
    hello.role = Role::source;
    hello.resets = 1;
    client.send(hello.bytes());
    BOOST_CHECK(client.wait_end() == Ending::reset);
    wait_for("the count", [&] { return daemon.count("front", "closed upstream_reset") == 1; });
}

BOOST_AUTO_TEST_CASE(after_a_half_close) {
    const FakeUpstream upstream;
    TestDaemon daemon(config(upstream));
    BlockingClient client(daemon.address("front"));
    Hello hello;
    hello.role = Role::source;
    hello.ends_first = 1;
    client.send(hello.bytes());
    client.receive_all();
    client.reset();
    wait_for("the server to see it", [&] { return upstream.results().reset == 1; });
    wait_for("no open connection", [&] { return daemon.count("front", "open") == 0; });
}

BOOST_AUTO_TEST_CASE(of_an_echo_client) {
    TestDaemon daemon("workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    client.reset();
    wait_for("the count", [&] { return daemon.count("echo", "closed peer_reset") == 1; });
    BOOST_CHECK_EQUAL(daemon.count("echo", "open"), 0U);
}

BOOST_AUTO_TEST_SUITE_END()
