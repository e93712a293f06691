// Connections in unusual states go over a kill, a reload and an upgrade: urgent bytes, one direction ended,
// bytes that nobody has read yet, a full table.

#include <boost/test/unit_test.hpp>
#include <functional>

#include "tests/support/blocking_client.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kEcho = "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

std::string pattern(size_t bytes) {
    std::string text(bytes, '\0');
    for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
    return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(carried)

BOOST_AUTO_TEST_CASE(urgent_bytes_stay_in_their_place) {
    TestDaemon daemon(kEcho);
    BlockingClient client(daemon.address("echo"));
    client.send("ab");
    client.send_urgent('!');
    BOOST_CHECK_EQUAL(client.receive(3), "ab!");
    daemon.change_hands();
    client.send("cd");
    client.send_urgent('?');
    client.send("ef");
    BOOST_CHECK_EQUAL(client.receive(5), "cd?ef");
    daemon.check_nothing_lost();
}

// The client's end has come, what it sent lies in the daemon and in the kernel, and nobody reads the echo.
BOOST_AUTO_TEST_CASE(unread_bytes_before_the_clients_end) {
    TestDaemon daemon(
        "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo, limits: {output_high: 64KiB, "
        "output_low: 32KiB}}}\n");
    const std::string sent = pattern(100'000);
    BlockingClient client(daemon.address("echo"), {.receive_buffer = 4096, .segment = 536});
    client.send(sent);
    client.end_output();
    daemon.change_hands();
    BOOST_CHECK(client.receive_all() == sent);
    daemon.check_nothing_lost();
}

// Many such at once, each with another amount.
BOOST_AUTO_TEST_CASE(ends_of_many) {
    TestDaemon daemon(kEcho);
    std::vector<std::unique_ptr<BlockingClient>> clients;
    std::vector<std::string> sent;
    for (size_t i = 0; i < 50; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(
            daemon.address("echo"), ClientOptions{.receive_buffer = 4096, .segment = 536}));
        sent.push_back(pattern(1 + i * 997));
        clients.back()->send(sent.back());
        if (i % 2 == 0) clients.back()->end_output();
    }
    daemon.change_hands();
    for (size_t i = 0; i < clients.size(); ++i) {
        if (i % 2 != 0) clients[i]->end_output();
        BOOST_CHECK(clients[i]->receive_all() == sent[i]);
    }
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_table_at_its_limit) {
    TestDaemon daemon(DaemonOptions{.config = kEcho, .open_files = 412});
    std::vector<std::unique_ptr<BlockingClient>> clients;
    const Address address = daemon.address("echo");
    for (int i = 0; i < 290; ++i) clients.push_back(std::make_unique<BlockingClient>(address));
    uint64_t open = 0;
    wait_for("the table to be full", [&] {
        const uint64_t before = std::exchange(open, daemon.open_connections());
        return open > 150 && open == before;
    });
    BOOST_CHECK_LT(open, 290U);
    for (int i = 0; i < 3; ++i) daemon.change_hands();
    for (size_t i = 0; i < open; ++i) BOOST_CHECK(clients[i]->echoes("still here"));
    clients.erase(clients.begin(), clients.begin() + static_cast<ssize_t>(open));
    for (const auto& waiting : clients) BOOST_CHECK(waiting->echoes("at last"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
