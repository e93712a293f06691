// limits.connections holds over all workers, and a crash does not unsettle the count.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kConfig =
    "workers: 2\nsupervisor: {respawn: {initial: 1ms, max: 2ms}}\n"
    "listeners: {echo: {listen: 127.0.0.1:0, limits: {connections: 5}, handler: echo}}\n";

using Clients = std::vector<std::unique_ptr<BlockingClient>>;

void fill(Clients& clients, const Address& address) {
    for (int i = 0; i < 5; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(address));
        BOOST_REQUIRE(clients.back()->echoes("hello"));
    }
}

void check_full(const TestDaemon& daemon, const Address& address) {
    const uint64_t before = daemon.count("echo", "refused connections");
    BlockingClient one_more(address);
    BOOST_CHECK(one_more.wait_end() != Ending::timed_out);
    wait_for("the count", [&] { return daemon.count("echo", "refused connections") == before + 1; });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(limits)

BOOST_AUTO_TEST_CASE(connections_over_all_workers) {
    TestDaemon daemon(kConfig);
    const Address address = daemon.address("echo");
    Clients clients;
    fill(clients, address);
    check_full(daemon, address);
    clients.pop_back();
    wait_for("a place", [&] { return daemon.count("echo", "open") == 4; });
    BOOST_CHECK(BlockingClient(address).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(the_count_is_right_after_crashes) {
    TestDaemon daemon(kConfig);
    const Address address = daemon.address("echo");
    Clients clients;
    fill(clients, address);
    for (int i = 0; i < 3; ++i) {
        daemon.kill_worker(0);
        daemon.kill_worker(1);
    }
    daemon.wait_complete(2);
    check_full(daemon, address);
    clients.clear();
    wait_for("all to be closed", [&] { return daemon.count("echo", "open") == 0; });
    fill(clients, address);
    check_full(daemon, address);
}

BOOST_AUTO_TEST_SUITE_END()
