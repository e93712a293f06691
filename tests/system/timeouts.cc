// timeouts.idle and timeouts.closing, also over the death of the worker that set the deadline.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/proxied_frames.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string with_idle(const std::string& limit) {
    return "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, timeouts: {idle: " + limit +
           "}, handler: echo}}\n";
}

std::string raw_proxy(const FakeUpstream& upstream, const std::string& timeouts) {
    return "workers: 1\nlisteners: {front: {listen: 127.0.0.1:0, timeouts: {" + timeouts +
           "}, handler: {proxy: back}}}\nupstreams: {back: {servers: [" + upstream.text() + "]}}\n";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(timeouts)

BOOST_AUTO_TEST_CASE(an_idle_connection_is_closed) {
    TestDaemon daemon(with_idle("500ms"));
    BlockingClient client(daemon.address("echo"));
    const auto begin = SteadyClock::now();
    BOOST_CHECK(client.echoes("hello"));
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    BOOST_CHECK_GE((SteadyClock::now() - begin) / 1ms, 450);
    wait_for("the count", [&] { return daemon.count("echo", "closed idle") == 1; });
}

BOOST_AUTO_TEST_CASE(a_busy_one_is_kept) {
    TestDaemon daemon(with_idle("1s"));
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 64, .piece = 64});
    const auto begin = SteadyClock::now();
    peer.run_until("more than the limit", [&] { return SteadyClock::now() - begin > 2500ms; });
    BOOST_CHECK_EQUAL(peer.open_count(), 1U);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
}

// Its bytes wait in the kernel when the worker runs again, which is when the limit is over.
BOOST_AUTO_TEST_CASE(a_worker_that_stood_still_hears_its_clients_first) {
    TestDaemon daemon(with_idle("1s"));
    const Address address = daemon.address("echo");
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < 600; ++i) clients.push_back(std::make_unique<BlockingClient>(address));
    for (const auto& client : clients) BOOST_REQUIRE(client->echoes("before"));
    const pid_t worker = daemon.pids(0).worker;
    BOOST_REQUIRE(worker != 0 && kill(worker, SIGSTOP) == 0);
    for (const auto& client : clients) client->send("meanwhile");
    const auto begin = SteadyClock::now();
    wait_for("the limit to be over", [&] { return SteadyClock::now() - begin > 1500ms; });
    kill(worker, SIGCONT);
    for (const auto& client : clients) BOOST_REQUIRE_EQUAL(client->receive(9), "meanwhile");
    BOOST_CHECK_EQUAL(daemon.count("echo", "closed idle"), 0U);
}

// The limit leaves time for the kill.
BOOST_AUTO_TEST_CASE(a_successor_keeps_the_deadline) {
    TestDaemon daemon(with_idle("2s"));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    daemon.kill_worker(0);
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    wait_for("the count", [&] { return daemon.count("echo", "closed idle") == 1; });
    BOOST_CHECK_EQUAL(daemon.count("echo", "adopted crash"), 1U);
}

BOOST_AUTO_TEST_CASE(both_ends_of_a_pair_are_closed) {
    const FakeUpstream upstream;
    TestDaemon daemon(raw_proxy(upstream, "idle: 300ms"));
    BlockingClient client(daemon.address("front"));
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    BOOST_CHECK_EQUAL(upstream.settled().accepted, 1U);
    wait_for("the count", [&] { return daemon.count("front", "open") == 0; });
}

// Its upstream has nothing to say, and does not hear of PINGs.
BOOST_AUTO_TEST_CASE(a_pair_is_idle_once_both_ends_are) {
    Proxied it(", timeouts: {idle: 1s}");
    const auto begin = SteadyClock::now();
    while (SteadyClock::now() - begin < 2500ms) it.settle();
    it.server_of_bystander.send_frame(kType, "still there");
    BOOST_CHECK_EQUAL(it.bystander.receive_frame(), (Frame{kType, "still there"}));
    it.client.expect_end();
    it.wait_closed("idle");
}

// The kernel has room for much: for a while it takes nothing more while all is being read.
BOOST_AUTO_TEST_CASE(who_reads_slowly_is_not_idle) {
    const FakeUpstream upstream;
    TestDaemon daemon(raw_proxy(upstream, "idle: 1s, slow_reader: 1s"));
    ExactPeer peer;
    const Plan plan{.far = Role::source,
                    .up_bytes = 40,
                    .down_bytes = 4 << 20,
                    .read_piece = 2000,
                    .receive_buffer = 4096,
                    .from_fresh_address = true,
                    .paced = true};
    peer.open(daemon.address("front"), plan, 3);
    peer.finish(60s);
    check_all_finished(peer.results());
}

// Over its rate for a second. What it says meanwhile waits.
BOOST_AUTO_TEST_CASE(who_is_not_read_is_not_idle) {
    const FakeUpstream upstream;
    TestDaemon daemon(
        "workers: 1\nlisteners:\n  lines: {listen: 127.0.0.1:0, framing: line, handler: echo, "
        "limits: {message_rate: 1/s}, timeouts: {idle: 300ms}}\n  front: {listen: 127.0.0.1:0, "
        "handler: {proxy: back}, timeouts: {idle: 300ms}, limits: {output_high: 64KiB, output_low: "
        "16KiB}}\nupstreams: {back: {servers: [" +
        upstream.text() + "]}}\n");
    BlockingClient client(daemon.address("lines")), held_back(daemon.address("front"), {4096, 536});
    Hello hello;
    hello.role = Role::source;
    hello.down_bytes = 4 << 20;
    held_back.send(hello.bytes());
    BOOST_CHECK(client.echoes("a\n"));
    const auto begin = SteadyClock::now();
    BOOST_CHECK(client.echoes("b\n"));
    BOOST_CHECK_GT((SteadyClock::now() - begin) / 1ms, 600);
    BOOST_CHECK_EQUAL(held_back.receive(4 << 20).size(), size_t{4 << 20});
    for (auto* one : {&client, &held_back}) BOOST_CHECK(one->wait_end() == Ending::orderly);
}

// Its place is free long before its rate would let it be read again; but what it sent before counts.
BOOST_AUTO_TEST_CASE(who_leaves_while_it_is_not_read_is_noticed) {
    TestDaemon daemon(
        "workers: 1\nlisteners:\n"
        "  slow: {listen: 127.0.0.1:0, framing: line, handler: echo, limits: {message_rate: 1/m}}\n"
        "  fast: {listen: 127.0.0.1:0, framing: line, handler: echo, limits: {message_rate: 1/s}}\n");
    BlockingClient gone(daemon.address("slow")), ended(daemon.address("fast"));
    for (auto* one : {&gone, &ended}) BOOST_CHECK(one->echoes("a\n"));
    gone.close();
    ended.send("the last\n");
    ended.end_output();
    BOOST_CHECK_EQUAL(ended.receive_all(), "the last\n");
    for (const char* name : {"slow", "fast"}) {
        wait_for("its place", [&] { return daemon.count(name, "open") == 0; });
        BOOST_CHECK_EQUAL(daemon.count(name, "closed finished"), 1U);
    }
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_cut_by_a_limit_does_not_look_whole) {
    const FakeUpstream upstream;
    for (const char* timeouts : {"idle: 300ms, slow_reader: 0", "slow_reader: 300ms"}) {
        TestDaemon daemon(raw_proxy(upstream, timeouts));
        BlockingClient client(daemon.address("front"), {.receive_buffer = 4096, .segment = 536});
        Hello hello;
        hello.role = Role::source;
        hello.down_bytes = 250'000;  // less than output_high
        hello.ends_first = 1;
        client.send(hello.bytes());
        wait_for("its end", [&] { return daemon.count("front", "open") == 0; });
        BOOST_CHECK(client.wait_end() == Ending::reset);
    }
}

BOOST_AUTO_TEST_SUITE_END()
