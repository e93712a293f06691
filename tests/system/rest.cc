// WINCH and `-s drain`: nothing is accepted until a reload. TTIN, TTOU: one worker more, one fewer.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {
constexpr const char* kConfig = "workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";
}

BOOST_AUTO_TEST_SUITE(rest)

BOOST_AUTO_TEST_CASE(a_drained_master_stays_and_comes_back) {
    TestDaemon daemon(kConfig);
    const Address address = daemon.address("echo");
    for (int i = 0; i < 3; ++i) {
        BlockingClient client(address);
        BOOST_CHECK(client.echoes("hello"));
        daemon.send(SIGWINCH);
        wait_for("it to rest",
                 [&] { return daemon.status().text().find("state resting") != std::string::npos; });
        BOOST_CHECK(client.echoes("still here"));
        wait_for("the address to be refused", [&] { return !can_connect(address); });
        client.close();
        const Output drained = daemon.verb("drain");
        BOOST_CHECK_EQUAL(drained.exit, 0);
        BOOST_CHECK_EQUAL(daemon.processes().size(), 1U);
        const Output reloaded = daemon.verb("reload");
        BOOST_CHECK_MESSAGE(reloaded.exit == 0, reloaded.err);
        daemon.wait_complete(2);
        BOOST_CHECK(daemon.address("echo") == address);
    }
    BOOST_CHECK(BlockingClient(address).echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(it_comes_back_while_the_last_connections_are_there) {
    TestDaemon daemon(kConfig);
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    daemon.send(SIGWINCH);
    wait_for("it to rest", [&] { return daemon.status().text().find("state resting") != std::string::npos; });
    const Output reloaded = daemon.verb("reload");
    BOOST_CHECK_MESSAGE(reloaded.exit == 0, reloaded.err);
    BOOST_CHECK(client.echoes("still here"));
    for (int i = 0; i < 20; ++i) BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("a new one"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(one_worker_more_one_fewer) {
    TestDaemon daemon(kConfig);
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 4096, .piece = 1500}, 20);
    peer.open(daemon.address("echo"), Plan{.up_bytes = 5000, .repeats = true}, 10);
    for (size_t i = 1; i <= 3; ++i) {
        daemon.send(SIGTTIN);
        peer.run_until("a third", [&] { return daemon.count_in_err("3 workers are wanted now") == i; });
        peer.run_bytes(300'000);
        daemon.send(SIGTTOU);
        peer.run_bytes(300'000);
    }
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    wait_for("two slots", [&] { return daemon.processes().size() == 5; });
    daemon.send(SIGTTOU);
    daemon.send(SIGTTOU);  // the last one stays
    wait_for("one slot", [&] { return daemon.processes().size() == 3; });
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
    daemon.check_nothing_lost();
}

// Who was queued at a slot that goes before it ever served is lost with its sockets.
BOOST_AUTO_TEST_CASE(a_worker_that_comes_and_goes_takes_no_client_with_it) {
    TestDaemon daemon("workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    for (size_t i = 1; i <= 10; ++i) {
        daemon.send(SIGTTIN);
        daemon.send(SIGTTOU);
        const auto has_gone = [&] { return daemon.count_in_err("slot 1 has ended") == i; };
        while (!has_gone()) BOOST_REQUIRE(BlockingClient(address).echoes("hello"));
    }
}

BOOST_AUTO_TEST_SUITE_END()
