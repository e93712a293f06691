// limits.connections holds over all workers, and a crash does not unsettle the count; allow and deny.

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kConfig =
    "workers: 2\nsupervisor: {respawn: {initial: 1ms, max: 2ms}}\n"
    "listeners: {echo: {listen: 127.0.0.1:0, limits: {connections: 5}, handler: echo}}\n";

void write_config(const TestDaemon& daemon, const std::string& text) {
    std::ofstream(daemon.config_path()) << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\n" << text;
}

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

BOOST_AUTO_TEST_CASE(addresses_that_are_let_in) {
    const auto config = [](const std::string& lists) {
        return "workers: 1\nlisteners: {echo: {listen: [\"127.0.0.1:0\", \"[::1]:0\"], handler: echo, " +
               lists + "}}\n";
    };
    TestDaemon daemon(config("allow: [127.0.0.0/8], deny: []"));
    const Address v4 = daemon.address("echo", 0), v6 = daemon.address("echo", 1);
    const auto check_refused = [&](const Address& address) {
        const uint64_t before = daemon.count("echo", "refused denied");
        BlockingClient client(address);
        BOOST_CHECK(client.wait_end() != Ending::timed_out);
        wait_for("the count", [&] { return daemon.count("echo", "refused denied") == before + 1; });
    };
    BlockingClient client(v4);
    BOOST_CHECK(client.echoes("let in"));
    check_refused(v6);
    BOOST_CHECK_EQUAL(daemon.count_in_err("listener \"echo\" refused a connection from [::1]"), 1U);
    daemon.kill_worker(0);
    check_refused(v6);
    write_config(daemon, config("deny: [127.0.0.1], allow: [\"0.0.0.0/0\", \"::1\"]"));
    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
    BOOST_CHECK(client.echoes("it was let in before"));
    check_refused(v4);
    BOOST_CHECK(BlockingClient(v6).echoes("let in"));
}

BOOST_AUTO_TEST_SUITE_END()
