// Which server a client is dialled for, and what is waited for.

#include <sys/socket.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>

#include "tests/support/blocking_client.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

using Clients = std::vector<std::unique_ptr<BlockingClient>>;

std::string front(const std::string& servers, unsigned workers, const std::string& timeouts = "") {
    return "workers: " + std::to_string(workers) +
           "\nlisteners: {front: {listen: 127.0.0.1:0, handler: {proxy: back}}}\nupstreams: {back: {servers: "
           "[" +
           servers + "]" + timeouts + "}}\n";
}

// One after the other, each connected to its server.
Clients open_clients(const Address& address, size_t count) {
    const std::string hello = Hello().bytes();
    Clients clients;
    for (size_t i = 0; i < count; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(address));
        BOOST_REQUIRE(clients.back()->echoes(hello));
    }
    return clients;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dials)

BOOST_AUTO_TEST_CASE(servers_take_turns_over_all_workers) {
    const FakeUpstream servers[4];
    std::string list;
    for (const FakeUpstream& server : servers) list += (list.empty() ? "" : ", ") + server.text();
    TestDaemon daemon(front(list, 4));
    Clients clients = open_clients(daemon.address("front"), 4);
    for (const FakeUpstream& server : servers) BOOST_TEST(server.results().accepted == 1U);
    daemon.kill_worker(0);
    daemon.wait_complete(4);
    const Clients more = open_clients(daemon.address("front"), 36);
    for (const FakeUpstream& server : servers) BOOST_TEST(server.results().accepted == 10U);
}

// Those whose turn it was at the one that is gone are spread over the others, not given to its neighbour.
BOOST_AUTO_TEST_CASE(what_a_server_that_is_gone_does_not_take_is_spread) {
    const FakeUpstream servers[3];
    const RefusingPort gone;
    TestDaemon daemon(front(
        gone.text() + ", " + servers[0].text() + ", " + servers[1].text() + ", " + servers[2].text(), 1));
    const Clients clients = open_clients(daemon.address("front"), 36);
    for (const FakeUpstream& server : servers) BOOST_TEST(server.results().accepted == 12U);
}

// connect(2) says EAGAIN for a unix socket whose backlog is full: its server is there, and busy.
BOOST_AUTO_TEST_CASE(a_full_backlog_is_waited_for) {
    const TempDir directory;
    const Address address = *Address::parse("unix:" + (directory / "server"), false);
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(::bind(listener.get(), address.get(), address.length()) == 0);
    BOOST_REQUIRE(::listen(listener.get(), 0) == 0);
    TestDaemon daemon(front(address.text(), 1, ", timeouts: {dial: 20s}"));
    Clients clients;
    for (int i = 0; i < 6; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(daemon.address("front")));
        clients.back()->send("x");
    }
    wait_for("a dial to find it full", [&] { return daemon.count_in_err("its backlog is full") > 0; });
    daemon.kill_worker(0);
    Clients served;
    for (size_t i = 0; i < clients.size(); ++i) {
        served.push_back(std::make_unique<BlockingClient>(
            UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))));
        BOOST_TEST(served.back()->receive(1) == "x");
        served.back()->send("y");
    }
    for (const auto& client : clients) BOOST_TEST(client->receive(1) == "y");
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_full_backlog_is_waited_for_no_longer_than_a_dial_may_take) {
    const TempDir directory;
    const Address address = *Address::parse("unix:" + (directory / "server"), false);
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(::bind(listener.get(), address.get(), address.length()) == 0);
    BOOST_REQUIRE(::listen(listener.get(), 0) == 0);
    TestDaemon daemon(front(address.text(), 1, ", timeouts: {dial: 300ms}"));
    Clients clients;
    for (int i = 0; i < 4; ++i) clients.push_back(std::make_unique<BlockingClient>(daemon.address("front")));
    wait_for("those that find it full to be let go",
             [&] { return daemon.count("front", "closed upstream_refused") > 0; });
}

// Another server takes whom a full one can't.
BOOST_AUTO_TEST_CASE(another_server_takes_whom_a_full_one_can_not) {
    const TempDir directory;
    const FakeUpstream other;
    const Address address = *Address::parse("unix:" + (directory / "server"), false);
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(::bind(listener.get(), address.get(), address.length()) == 0);
    BOOST_REQUIRE(::listen(listener.get(), 0) == 0);
    const UniqueFd first(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(::connect(first.get(), address.get(), address.length()) == 0);
    TestDaemon daemon(front(address.text() + ", " + other.text(), 1, ", timeouts: {dial: 20s}"));
    const Clients clients = open_clients(daemon.address("front"), 6);
    BOOST_TEST(other.results().accepted == 6U);
}

// Whoever stops a process of ours stops no client.
BOOST_AUTO_TEST_CASE(a_stopped_standby_is_continued_and_succeeds) {
    TestDaemon daemon("workers: 1\nlisteners: {it: {listen: 127.0.0.1:0, handler: echo}}\n");
    BlockingClient client(daemon.address("it"));
    BOOST_TEST(client.echoes("before"));
    const Pids pids = daemon.pids(0);
    ::kill(pids.standby, SIGSTOP);
    wait_for("the master to say so", [&] { return daemon.count_in_err("it is continued") > 0; });
    ::kill(pids.standby, SIGSTOP);
    ::kill(pids.worker, SIGKILL);
    BOOST_TEST(client.echoes("after"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
