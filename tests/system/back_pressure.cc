// Who does not read is not read from: bounded memory, bytes exact afterwards, and an end for who never reads
// again.

#include <poll.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr int kClients = 200;
constexpr ClientOptions kTiny{.receive_buffer = 4096, .segment = 536};

// Sends zeroes until the sockets have taken none for a while (10 looks of 20 ms in a row); how many they
// took.
size_t send_until_stuck(const std::vector<const BlockingClient*>& clients) {
    const std::string zeroes(16384, '\0');
    size_t taken = 0;
    for (int refusals = 0; refusals < 10; ++refusals) {
        for (const BlockingClient* client : clients) {
            const ssize_t sent =
                send(client->fd(), zeroes.data(), zeroes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN) throw Failed("the connection is gone");
            if (sent <= 0) continue;
            taken += static_cast<size_t>(sent);
            refusals = -1;
        }
        pollfd poller{clients.front()->fd(), POLLOUT, 0};
        if (refusals >= 0) poll(&poller, 1, 20);
    }
    return taken;
}

std::string limits(const std::string& handler, const std::string& timeouts = "") {
    return "workers: 1\nlisteners:\n  it: {listen: 127.0.0.1:0, limits: {output_high: 64KiB, output_low: "
           "16KiB}, "
           "handler: " +
           handler + timeouts + "}\n";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(back_pressure)

BOOST_AUTO_TEST_CASE(a_client_that_does_not_read_is_paused_and_served_later) {
    TestDaemon daemon(limits("echo"));
    BlockingClient client(daemon.address("it"), kTiny);
    const size_t taken = send_until_stuck({&client});
    BOOST_TEST_MESSAGE("taken before the pause: " << taken);
    client.end_output();
    BOOST_CHECK_EQUAL(client.receive_all().size(), taken);
}

BOOST_AUTO_TEST_CASE(slow_readers_get_every_byte) {
    const FakeUpstream upstream;
    TestDaemon daemon(limits("{proxy: back}") + "upstreams: {back: {servers: [" + upstream.text() + "]}}\n");
    ExactPeer peer;
    const Plan slow{.receive_buffer = 4096, .segment = 536, .from_fresh_address = true, .paced = true};
    Plan echoed = slow, download = slow;
    echoed.up_bytes = 1 << 20;
    echoed.window = 1 << 30;
    download.far = Role::source;
    download.up_bytes = 40;
    download.down_bytes = 1 << 20;
    peer.open(daemon.address("it"), echoed, 5);
    peer.open(daemon.address("it"), download, 5);
    peer.finish(60s);
    check_all_finished(peer.results());
}

BOOST_AUTO_TEST_CASE(a_slow_server_gets_every_byte) {
    const FakeUpstream upstream({.receive_buffer = 4096, .segment = 536});
    TestDaemon daemon(limits("{proxy: back}") + "upstreams: {back: {servers: [" + upstream.text() + "]}}\n");
    ExactPeer peer;
    peer.open(daemon.address("it"), Plan{.far = Role::sink, .up_bytes = 1 << 20, .far_paced = true}, 5);
    peer.finish(60s);
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(upstream.settled().received, peer.results().sent);
}

BOOST_AUTO_TEST_CASE(memory_is_bounded_by_the_water_mark) {
    TestDaemon daemon(limits("echo"));
    const Address address = daemon.address("it");
    daemon.wait_complete(1);
    const uint64_t before = daemon.pss_bytes(0);
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < kClients; ++i) clients.push_back(std::make_unique<BlockingClient>(address, kTiny));
    std::vector<const BlockingClient*> all;
    for (const auto& client : clients) all.push_back(client.get());
    // Where the worker does not get to run, they seem stuck before they are.
    wait_for("the mark to be passed", [&] {
        send_until_stuck(all);
        return daemon.pss_bytes(0) > before + kClients * 64 * 1024;
    });
    // The mark and one read more for each client.
    BOOST_CHECK_LT(daemon.pss_bytes(0), before + kClients * (64 + 64 + 16) * 1024);
    clients.clear();
    wait_for("no open connection", [&] { return daemon.count("it", "open") == 0; });
    // All but the 4 MiB of chunks of each size that stay with the slot.
    wait_for("memory to be given back", [&] { return daemon.pss_bytes(0) < before + 9 * 1024 * 1024; });
}

BOOST_AUTO_TEST_CASE(who_never_reads_again_is_closed) {
    TestDaemon daemon(limits("echo", ", timeouts: {slow_reader: 400ms}"));
    BlockingClient client(daemon.address("it"), kTiny);
    BlockingClient other(daemon.address("it"));
    try {
        send_until_stuck({&client});
    } catch (const Failed&) {  // closed meanwhile
    }
    wait_for("the count", [&] { return daemon.count("it", "closed slow_reader") == 1; });
    BOOST_CHECK(other.echoes("still here"));
}

BOOST_AUTO_TEST_CASE(a_slow_reader_that_goes_on_is_kept) {
    TestDaemon daemon(limits("echo", ", timeouts: {slow_reader: 1s}"));
    ExactPeer peer;
    peer.open(daemon.address("it"), Plan{.up_bytes = kEndless,
                                         .window = 1 << 20,
                                         .receive_buffer = 4096,
                                         .segment = 536,
                                         .from_fresh_address = true,
                                         .paced = true});
    const auto begin = SteadyClock::now();
    peer.run_until("more than the limit", [&] { return SteadyClock::now() - begin > 2500ms; });
    peer.wind_down();
    peer.finish(60s);
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(daemon.count("it", "closed slow_reader"), 0U);
}

BOOST_AUTO_TEST_SUITE_END()
