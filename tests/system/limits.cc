// limits.connections, connections_per_ip and accept_rate hold over all workers, and neither a crash nor an
// upgrade unsettles what they count; allow and deny.

#include <boost/test/unit_test.hpp>
#include <csignal>
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

void check_refused(const TestDaemon& daemon, const Address& address, const std::string& reason) {
    const uint64_t before = daemon.count("echo", "refused " + reason);
    BlockingClient one_more(address);
    BOOST_CHECK(one_more.wait_end() != Ending::timed_out);
    wait_for("the count", [&] { return daemon.count("echo", "refused " + reason) == before + 1; });
}

void check_full(const TestDaemon& daemon, const Address& address) {
    check_refused(daemon, address, "connections");
}

// IPv4 and IPv6 loopback are two addresses to it.
std::string with_limits(unsigned workers, const std::string& limits) {
    return "workers: " + std::to_string(workers) +
           "\nsupervisor: {respawn: {initial: 1ms, max: 2ms}}\n"
           "listeners: {echo: {listen: [\"127.0.0.1:0\", \"[::1]:0\"], limits: {" +
           limits + "}, handler: echo}}\n";
}

void fill_with(size_t count, Clients& clients, const Address& address) {
    while (clients.size() < count) {
        clients.push_back(std::make_unique<BlockingClient>(address));
        BOOST_REQUIRE(clients.back()->echoes("hello"));
    }
}

bool is_served(const Address& address) {
    try {
        return BlockingClient(address).echoes("hello");
    } catch (const Failed&) {
        return false;
    }
}

void reload(const TestDaemon& daemon, const std::string& config) {
    write_config(daemon, config);
    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
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
    const auto check_denied = [&](const Address& address) { check_refused(daemon, address, "denied"); };
    BlockingClient client(v4);
    BOOST_CHECK(client.echoes("let in"));
    check_denied(v6);
    wait_for("its line",
             [&] { return daemon.count_in_err("listener \"echo\" refused a connection from [::1]") == 1; });
    daemon.kill_worker(0);
    check_denied(v6);
    write_config(daemon, config("deny: [127.0.0.1], allow: [\"0.0.0.0/0\", \"::1\"]"));
    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
    BOOST_CHECK(client.echoes("it was let in before"));
    check_denied(v4);
    BOOST_CHECK(BlockingClient(v6).echoes("let in"));
}

BOOST_AUTO_TEST_CASE(connections_of_one_address_over_all_workers) {
    TestDaemon daemon(with_limits(3, "connections_per_ip: 5"));
    const Address v4 = daemon.address("echo", 0), v6 = daemon.address("echo", 1);
    Clients of_v4, of_v6;
    fill_with(5, of_v4, v4);
    check_refused(daemon, v4, "per_ip");
    fill_with(5, of_v6, v6);
    check_refused(daemon, v6, "per_ip");
    of_v4.pop_back();
    wait_for("a place", [&] { return daemon.count("echo", "open") == 9; });
    check_refused(daemon, v6, "per_ip");
    fill_with(5, of_v4, v4);
    check_refused(daemon, v4, "per_ip");
    wait_for("a line about it", [&] {
        return daemon.count_in_err("listener \"echo\" refused a connection from 127.0.0.1") >= 1;
    });
}

BOOST_AUTO_TEST_CASE(the_count_of_an_address_is_right_after_crashes) {
    TestDaemon daemon(with_limits(3, "connections_per_ip: 6"));
    const Address address = daemon.address("echo");
    Clients clients;
    for (int round = 0; round < 3; ++round) {
        fill_with(6, clients, address);
        for (unsigned slot = 0; slot < 3; ++slot) daemon.kill_worker(slot);
        daemon.wait_complete(3);
        check_refused(daemon, address, "per_ip");
        for (auto& client : clients) BOOST_CHECK(client->echoes("it is still there"));
        clients.resize(3);
        for (unsigned slot = 0; slot < 3; ++slot) daemon.kill_worker(slot);
        wait_for("them to be closed", [&] { return daemon.count("echo", "open") == 3; });
        fill_with(6, clients, address);
        check_refused(daemon, address, "per_ip");
        clients.clear();
        wait_for("all to be closed", [&] { return daemon.count("echo", "open") == 0; });
    }
}

// Of a slot that nobody takes over: one worker fewer is wanted.
BOOST_AUTO_TEST_CASE(the_places_of_a_lost_slot_are_free_again) {
    TestDaemon daemon(with_limits(2, "connections_per_ip: 30"));
    const Address address = daemon.address("echo");
    Clients clients, others;
    fill_with(30, clients, address);
    daemon.send(SIGTTOU);
    wait_for("the order", [&] { return daemon.count_in_err("1 workers are wanted now") == 1; });
    check_refused(daemon, address, "per_ip");
    const Pids both = daemon.pids(1);
    // Stopped first, or the standby would go on in between.
    for (const int number : {SIGSTOP, SIGKILL}) {
        ::kill(both.standby, number);
        ::kill(both.worker, number);
    }
    wait_for("one slot", [&] { return daemon.processes().size() == 3; });
    wait_for("the loss to be counted", [&] { return daemon.count("echo", "lost slot_lost") > 0; });
    fill_with(daemon.count("echo", "lost slot_lost"), others, address);
    check_refused(daemon, address, "per_ip");
}

BOOST_AUTO_TEST_CASE(a_reload_changes_the_limit_of_an_address_and_keeps_the_count) {
    TestDaemon daemon(with_limits(2, "connections_per_ip: 0"));
    const Address address = daemon.address("echo");
    Clients clients;
    fill_with(4, clients, address);
    reload(daemon, with_limits(2, "connections_per_ip: 5"));
    fill_with(5, clients, address);
    check_refused(daemon, address, "per_ip");
    reload(daemon, with_limits(2, "connections_per_ip: 0"));
    fill_with(8, clients, address);
    reload(daemon, with_limits(2, "connections_per_ip: 9"));
    fill_with(9, clients, address);
    check_refused(daemon, address, "per_ip");
}

BOOST_AUTO_TEST_CASE(an_upgrade_keeps_the_count_of_an_address) {
    TestDaemon daemon(with_limits(2, "connections_per_ip: 5"));
    const Address address = daemon.address("echo");
    Clients clients;
    fill_with(5, clients, address);
    for (int round = 0; round < 3; ++round) {
        BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
        check_refused(daemon, address, "per_ip");
        daemon.kill_worker(0);
        clients.erase(clients.begin());
        wait_for("a place", [&] { return daemon.count("echo", "open") == 4; });
        fill_with(5, clients, address);
        check_refused(daemon, address, "per_ip");
    }
}

BOOST_AUTO_TEST_CASE(the_rate_of_accepting_over_all_workers_and_their_deaths) {
    TestDaemon daemon(with_limits(2, "accept_rate: 3/m"));
    const Address address = daemon.address("echo");
    Clients clients;
    fill_with(3, clients, address);
    check_refused(daemon, address, "rate");
    daemon.kill_worker(0);
    daemon.kill_worker(1);
    check_refused(daemon, address, "rate");
    for (auto& client : clients) BOOST_CHECK(client->echoes("it is still there"));
    reload(daemon, with_limits(2, "accept_rate: 1000/s"));
    wait_for("the faster rate", [&] { return is_served(address); });
}

BOOST_AUTO_TEST_SUITE_END()
