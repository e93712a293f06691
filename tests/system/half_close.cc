// One direction of a connection ends, the other goes on, either side first; nothing is left in CLOSE_WAIT.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string proxy_config(const FakeUpstream& upstream, const std::string& more = "") {
    return "workers: 2\nlisteners: {front: {listen: 127.0.0.1:0, handler: {proxy: back}" + more +
           "}}\nupstreams: {back: {servers: [" + upstream.text() + "]}}\n";
}

void run(const Address& address, const Plan& plan, unsigned count) {
    ExactPeer peer;
    peer.open(address, plan, count);
    peer.finish();
    check_all_finished(peer.results());
}

void check_nothing_in_close_wait(const TestDaemon& daemon, const std::string& listener) {
    const Address address = daemon.address(listener);
    wait_for("no socket in CLOSE_WAIT", [&] { return sockets_in_state(address, kCloseWait) == 0; });
    wait_for("no open connection", [&] { return daemon.count(listener, "open") == 0; });
    for (const pid_t pid : daemon.processes()) BOOST_CHECK_LT(descriptors_of(pid), 192U);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(half_close)

BOOST_AUTO_TEST_CASE(echo_answers_after_the_clients_end) {
    TestDaemon daemon("workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address echo = daemon.address("echo");
    run(echo, {.up_bytes = 4 << 20, .window = 1 << 30, .ends_at_once = true}, 5);
    run(echo,
        {.up_bytes = 400'000,
         .window = 1 << 30,
         .receive_buffer = 4096,
         .segment = 536,
         .from_fresh_address = true,
         .paced = true,
         .ends_at_once = true},
        5);
    check_nothing_in_close_wait(daemon, "echo");
}

BOOST_AUTO_TEST_CASE(proxied_client_ends_first) {
    const FakeUpstream upstream;
    TestDaemon daemon(proxy_config(upstream));
    run(daemon.address("front"), {.up_bytes = 1 << 20, .window = 1 << 30, .ends_at_once = true}, 10);
    run(daemon.address("front"),
        {.far = Role::source, .up_bytes = 40, .down_bytes = 4 << 20, .ends_at_once = true}, 10);
    check_nothing_in_close_wait(daemon, "front");
    wait_for("none towards the server either",
             [&] { return sockets_towards(upstream.address(), kCloseWait) == 0; });
    BOOST_CHECK_EQUAL(upstream.settled().finished, 20U);
}

BOOST_AUTO_TEST_CASE(proxied_server_ends_first) {
    const FakeUpstream upstream;
    TestDaemon daemon(proxy_config(upstream));
    run(daemon.address("front"),
        {.far = Role::source, .up_bytes = 4 << 20, .down_bytes = 1000, .far_ends_first = true}, 10);
    check_nothing_in_close_wait(daemon, "front");
    BOOST_CHECK_EQUAL(upstream.settled().finished, 10U);
    BOOST_CHECK_EQUAL(upstream.settled().received, 10ULL * (4 << 20));
}

BOOST_AUTO_TEST_CASE(both_end_at_the_same_time) {
    const FakeUpstream upstream;
    TestDaemon daemon(proxy_config(upstream));
    run(daemon.address("front"),
        {.far = Role::source, .up_bytes = 40, .down_bytes = 1, .far_ends_first = true}, 50);
    run(daemon.address("front"), {.far = Role::sink, .up_bytes = 40, .ends_at_once = true}, 50);
    check_nothing_in_close_wait(daemon, "front");
}

BOOST_AUTO_TEST_CASE(the_end_is_passed_on_while_the_other_direction_is_silent) {
    const FakeUpstream upstream;
    TestDaemon daemon(proxy_config(upstream));
    ExactPeer peer;
    peer.open(daemon.address("front"),
              Plan{.far = Role::source, .up_bytes = 40, .down_bytes = kEndless, .ends_at_once = true}, 3);
    peer.finish();
    check_all_finished(peer.results());
}

BOOST_AUTO_TEST_CASE(a_half_that_stays_open_is_closed_in_time) {
    const FakeUpstream upstream;
    TestDaemon daemon(proxy_config(upstream, ", timeouts: {half_close: 300ms}"));
    BlockingClient client(daemon.address("front"));
    Hello hello;
    hello.role = Role::source;
    hello.ends_first = 1;
    client.send(hello.bytes());  // the server ends at once; the client says nothing more
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    wait_for("the count", [&] { return daemon.count("front", "closed half_closed") == 1; });
    check_nothing_in_close_wait(daemon, "front");
}

BOOST_AUTO_TEST_CASE(a_half_that_is_in_use_is_kept) {
    const FakeUpstream upstream;
    TestDaemon daemon(proxy_config(upstream, ", timeouts: {half_close: 1s}"));
    ExactPeer peer;
    peer.open(daemon.address("front"), Plan{.far = Role::source,
                                            .up_bytes = kEndless,
                                            .down_bytes = 10,
                                            .piece = 200,
                                            .far_ends_first = true});
    const auto begin = SteadyClock::now();
    peer.run_until("more than the limit", [&] { return SteadyClock::now() - begin > 2500ms; });
    BOOST_CHECK_EQUAL(peer.open_count(), 1U);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
}

// Whose sender has ended, so that nothing comes from there any more; the other one is silent and reads, some
// 2 s at a kilobyte a millisecond, most of that from the kernel's buffer.
BOOST_AUTO_TEST_CASE(who_reads_slowly_gets_all_that_was_sent_before_an_end) {
    for (const bool is_small : {false, true}) {
        const UpstreamOptions small{.receive_buffer = 4096, .segment = is_small ? 536 : 0};
        const FakeUpstream upstream(small);
        TestDaemon daemon(proxy_config(upstream, ", timeouts: {half_close: 1s}"));
        Plan download{.far = Role::source,
                      .up_bytes = 40,
                      .down_bytes = 2 << 20,
                      .read_piece = 1000,
                      .receive_buffer = 4096,
                      .segment = small.segment,
                      .from_fresh_address = true,
                      .paced = true,
                      .far_ends_first = true};
        ExactPeer peer;
        peer.open(daemon.address("front"), download, 3);
        peer.open(daemon.address("front"),
                  Plan{.far = Role::sink,
                       .up_bytes = 2 << 20,
                       .window = 1 << 30,
                       .ends_at_once = true,
                       .far_read_piece = 1000,
                       .far_paced = true},
                  3);
        peer.finish(60s);
        check_all_finished(peer.results());
        BOOST_CHECK_EQUAL(daemon.count("front", "closed half_closed"), 0U);
        BOOST_CHECK_EQUAL(upstream.settled().finished, 6U);
    }
}

BOOST_AUTO_TEST_SUITE_END()
