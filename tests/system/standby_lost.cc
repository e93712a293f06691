// A standby dies while its worker lives: connections are served on, new ones go elsewhere, and the pair is
// replaced once it is empty.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

void kill_standby(const TestDaemon& daemon, unsigned slot) {
    const pid_t standby = daemon.pids(slot).standby;
    BOOST_REQUIRE_NE(standby, 0);
    kill(standby, SIGKILL);
}

unsigned slot_of_only_connection(const TestDaemon& daemon) {
    // The one worker whose table has grown.
    return daemon.descriptors(0) > daemon.descriptors(1) ? 0 : 1;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(standby_lost)

BOOST_AUTO_TEST_CASE(an_empty_pair_is_replaced_at_once) {
    TestDaemon daemon("workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Pids before = daemon.pids(0);
    kill_standby(daemon, 0);
    wait_for("a new pair", [&] {
        const Pids now = daemon.pids(0);
        return now.both() && now.worker != before.worker;
    });
    daemon.wait_complete(2);
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(the_only_slot_goes_on_serving) {
    TestDaemon daemon("workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    auto client = std::make_unique<BlockingClient>(address);
    BOOST_CHECK(client->echoes("before"));
    const Pids before = daemon.pids(0);
    kill_standby(daemon, 0);
    BOOST_CHECK(client->echoes("after"));
    BOOST_CHECK_EQUAL(daemon.pids(0).worker, before.worker);
    BOOST_CHECK(BlockingClient(address).echoes("a new one"));  // accepted now or by the next pair
    client.reset();
    wait_for("a new pair", [&] {
        const Pids now = daemon.pids(0);
        return now.both() && now.worker != before.worker;
    });
    BOOST_CHECK(BlockingClient(address).echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(new_connections_go_to_the_other_slot) {
    TestDaemon daemon("workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    BlockingClient client(address);
    BOOST_CHECK(client.echoes("hello"));
    const unsigned slot = slot_of_only_connection(daemon);
    const size_t table = daemon.descriptors(slot);
    const Pids before = daemon.pids(slot);
    kill_standby(daemon, slot);
    wait_for("the loss to be said", [&] { return daemon.count_in_err("standby") > 0; });
    wait_for("a status without a standby", [&] { return daemon.status().slots().at(slot).standby == 0; });
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < 20; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(address));
        BOOST_CHECK(clients.back()->echoes("hello"));
    }
    BOOST_CHECK_EQUAL(daemon.descriptors(slot), table);
    BOOST_CHECK(client.echoes("still there"));
    BOOST_CHECK_EQUAL(daemon.pids(slot).worker, before.worker);
    client.close();
    wait_for("a new pair", [&] {
        const Pids now = daemon.pids(slot);
        return now.both() && now.worker != before.worker;
    });
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
