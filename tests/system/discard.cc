// `handler: discard` reads everything, answers nothing, and ends when the client does.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(discard)

BOOST_AUTO_TEST_CASE(reads_all_and_says_nothing) {
    TestDaemon daemon("workers: 2\nlisteners: {sink: {listen: 127.0.0.1:0, handler: discard}}\n");
    ExactPeer peer;
    peer.open(daemon.address("sink"), Plan{.far = Role::sink, .up_bytes = 16 << 20}, 4);
    peer.finish();
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(peer.results().received, 0U);
    wait_for("the counts", [&] { return daemon.count("sink", "closed finished") == 4; });
}

BOOST_AUTO_TEST_CASE(a_silent_client_is_kept) {
    TestDaemon daemon("workers: 1\nlisteners: {sink: {listen: 127.0.0.1:0, handler: discard}}\n");
    BlockingClient client(daemon.address("sink"));
    client.send("x");
    wait_for("the connection", [&] { return daemon.count("sink", "open") == 1; });
    client.end_output();
    BOOST_CHECK(client.wait_end() == Ending::orderly);
}

BOOST_AUTO_TEST_SUITE_END()
