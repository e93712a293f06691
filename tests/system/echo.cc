// `handler: echo` sends back what came, over every kind of address.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(echo)

BOOST_AUTO_TEST_CASE(a_few_bytes_and_an_orderly_end) {
    TestDaemon daemon("workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    BOOST_CHECK(client.echoes(std::string("\0\r\n\xff", 4)));
    client.end_output();
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    wait_for("the count", [&] { return daemon.count("echo", "closed finished") == 1; });
    const Status status = daemon.status();
    BOOST_CHECK_EQUAL(status.count("echo", "accepted"), 1U);
    BOOST_CHECK_EQUAL(status.count("echo", "open"), 0U);
}

BOOST_AUTO_TEST_CASE(one_byte_at_a_time) {
    TestDaemon daemon("workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    BlockingClient client(daemon.address("echo"));
    bool all_right = true;
    for (int i = 0; i < 2000; ++i) all_right &= client.echoes(std::string(1, static_cast<char>(i)));
    BOOST_CHECK(all_right);
}

BOOST_AUTO_TEST_CASE(big_streams) {
    TestDaemon daemon("workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = 16 << 20, .window = 8 << 20, .piece = 64 * 1024}, 4);
    peer.open(daemon.address("echo"), Plan{.up_bytes = 16 << 20, .window = 1 << 30, .ends_at_once = true}, 2);
    peer.finish();
    check_all_finished(peer.results());
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(many_connections_at_once) {
    TestDaemon daemon("workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = 20'000, .window = 512, .piece = 512}, 300);
    peer.finish();
    check_all_finished(peer.results());
    wait_for("the counts", [&] { return daemon.count("echo", "closed finished") == 300; });
    BOOST_CHECK_EQUAL(daemon.count("echo", "accepted"), 300U);
}

BOOST_AUTO_TEST_CASE(connections_that_come_and_go) {
    TestDaemon daemon("workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = 100, .window = 100, .repeats = true}, 20);
    peer.run_until("2,000 connections", [&] { return peer.results().finished >= 2000; });
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    wait_for("no open connection", [&] { return daemon.count("echo", "open") == 0; });
}

BOOST_AUTO_TEST_CASE(several_addresses_of_one_listener) {
    TestDaemon daemon(
        "workers: 2\n"
        "listeners: {echo: {listen: ['127.0.0.1:0', '[::1]:0', 'unix:$DIR/echo.sock'], handler: echo}}\n");
    ExactPeer peer;
    for (size_t n = 0; n < 3; ++n) {
        BOOST_CHECK(BlockingClient(daemon.address("echo", n)).echoes("hello"));
        peer.open(daemon.address("echo", n), Plan{.up_bytes = 1 << 20}, 10);
    }
    peer.finish();
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(daemon.address("echo", 1).family(), AF_INET6);
    BOOST_CHECK(daemon.address("echo", 2).is_unix());
}

BOOST_AUTO_TEST_CASE(two_listeners_do_not_mix) {
    TestDaemon daemon(
        "workers: 1\nlisteners:\n  echo: {listen: 127.0.0.1:0, handler: echo}\n"
        "  other: {listen: 127.0.0.1:0, handler: discard}\n");
    BlockingClient client(daemon.address("echo")), other(daemon.address("other"));
    other.send("nothing comes back");
    BOOST_CHECK(client.echoes("this does"));
    BOOST_CHECK(!other.has_input());
    BOOST_CHECK_EQUAL(daemon.count("echo", "open"), 1U);
    BOOST_CHECK_EQUAL(daemon.count("other", "open"), 1U);
}

BOOST_AUTO_TEST_SUITE_END()
