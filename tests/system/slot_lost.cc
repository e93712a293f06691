// Worker and standby of a slot die together: its connections are lost, counted and logged, no other slot's
// are, and new ones are served at once.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

void kill_both(const Pids& pids) {
    // Stopped first, or the standby would go on in between.
    kill(pids.standby, SIGSTOP);
    kill(pids.worker, SIGSTOP);
    kill(pids.standby, SIGKILL);
    kill(pids.worker, SIGKILL);
}

// A standby that died first has its slot renewed; that is over when one pair is left.
void settle(const TestDaemon& daemon) {
    wait_for("one pair", [&] {
        const SlotStatus slot = daemon.status().slots().at(0);
        return slot.attempt == 0 && slot.standby != 0 && daemon.processes().size() == 3;
    });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(slot_lost)

BOOST_AUTO_TEST_CASE(of_two) {
    TestDaemon daemon("workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < 40; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(address));
        BOOST_REQUIRE(clients.back()->echoes("hello"));
    }
    const Pids lost = daemon.pids(0);
    BOOST_REQUIRE(lost.both());
    kill_both(lost);
    wait_for("the loss to be counted", [&] { return daemon.count("echo", "lost slot_lost") > 0; });
    BOOST_CHECK(BlockingClient(address).echoes("a new one"));
    size_t gone = 0;
    for (const auto& client : clients) {
        try {
            BOOST_CHECK(client->echoes("are you there"));
        } catch (const Failed&) {
            ++gone;
        }
    }
    BOOST_TEST_MESSAGE(gone << " of 40 connections were lost");
    BOOST_CHECK_EQUAL(daemon.count("echo", "lost slot_lost"), gone);
    BOOST_CHECK_LT(gone, 40U);
    wait_for("the others to be open", [&] { return daemon.count("echo", "open") == 40 - gone; });
    daemon.wait_complete(2);
}

BOOST_AUTO_TEST_CASE(again_and_again) {
    TestDaemon daemon(
        "workers: 1\nsupervisor: {respawn: {initial: 1ms, max: 10ms}}\n"
        "listeners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    size_t descriptors = 0;
    for (int i = 0; i < 10; ++i) {
        Pids pids;
        wait_for("a pair", [&] { return (pids = daemon.pids(0)).both(); });
        kill_both(pids);
        wait_for("a new pair", [&] {
            const Pids now = daemon.pids(0);
            return now.both() && now.worker != pids.worker && now.standby != pids.standby;
        });
        BOOST_CHECK(BlockingClient(address).echoes("hello"));
        if (i != 2) continue;
        settle(daemon);
        descriptors = descriptors_of(daemon.master());
    }
    settle(daemon);
    // Either count may hold a request's own socket for a moment more; what leaks is one or more a loss.
    wait_for("no more files than before", [&] { return descriptors_of(daemon.master()) <= descriptors; });
    BOOST_CHECK_EQUAL(address.port(), daemon.address("echo").port());
}

BOOST_AUTO_TEST_SUITE_END()
