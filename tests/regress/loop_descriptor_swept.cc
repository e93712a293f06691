// The sweep for descriptors that no record accounts for closed the one that libev's signals wake its loop by.
// The next client got its number, and eight bytes with the next SIGTERM.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(loop_descriptor_swept)

BOOST_AUTO_TEST_CASE(a_signal_writes_to_no_connection) {
    TestDaemon daemon(
        "workers: 1\nsupervisor: {respawn: {initial: 1ms, max: 1ms}}\n"
        "listeners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int round = 0; round < 3; ++round) {
        const auto begin = SteadyClock::now();
        wait_for("several sweeps", [&] { return SteadyClock::now() - begin > 300ms; });
        for (int i = 0; i < 10; ++i) {
            clients.push_back(std::make_unique<BlockingClient>(address));
            BOOST_CHECK(clients.back()->echoes("hello"));
        }
        daemon.kill_worker(0, SIGTERM);
        for (const auto& client : clients) BOOST_CHECK(client->echoes("hello again"));
    }
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
