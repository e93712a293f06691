// Who does not read, and who is not there: a closed window whose probes are answered is timeouts.slow_reader's
// alone; who acknowledges nothing for the time of keepalive is unreachable. In both directions, and whoever dies.

#include <linux/filter.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <list>

#include "tests/support/played_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kKeepalive = "keepalive: {idle: 1s, interval: 1s, probes: 1}";
constexpr auto kGone = 2s;
// More than a client's window, and less than what lies in the kernel for it; for a server it is five times as much.
constexpr size_t kLittle = 40'000;

std::string config(const std::string& upstream, const std::string& timeouts) {
    return "workers: 1\nlisteners: {front: {listen: 127.0.0.1:0, " + std::string(kKeepalive) +
           ", timeouts: {" + timeouts + "}, limits: {output_high: 64KiB}, handler: {proxy: back}}}\n" +
           "upstreams: {back: {servers: ['" + upstream + "'], " + kKeepalive + "}}\n";
}

// What one end sends and the other does not read.
struct Stuck {
    BlockingClient from, to;
    size_t sent = 0;
};

struct Fixture {
    explicit Fixture(const std::string& timeouts) : daemon(config(upstream.text(), timeouts)) {}

    // Until nothing more is taken; a small `most` lies in the kernel as a whole.
    Stuck& fill(bool is_up, size_t most = ~size_t{0}) {
        BlockingClient client(daemon.address("front"), {4096, 536});
        client.send("hello");
        BlockingClient server = upstream.accept();
        BOOST_REQUIRE_EQUAL(server.receive(5), "hello");
        Stuck& one = is_up ? stuck.emplace_back(std::move(client), std::move(server))
                           : stuck.emplace_back(std::move(server), std::move(client));
        const std::string bytes = payload_of(8192);
        unsigned full = 0;
        wait_for("one end to be held back", [&] {
            for (ssize_t taken = 1; taken > 0 && one.sent < most;) {
                taken = send(one.from.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
                if (taken > 0) one.sent += static_cast<size_t>(taken);
                full = taken > 0 ? 0 : full + 1;
            }
            return full == 50 || one.sent >= most;
        });
        return one;
    }
    uint64_t closed(const std::string& reason) const { return daemon.count("front", "closed " + reason); }
    void wait_closed(const std::string& reason, uint64_t count) const {
        wait_for("the count of " + reason, [&] { return closed(reason) == count; });
    }
    void pass(Milliseconds time) const {
        const auto begin = SteadyClock::now();
        wait_for("time to pass", [&] { return SteadyClock::now() - begin > time; });
    }

    PlayedUpstream upstream;
    TestDaemon daemon;
    std::list<Stuck> stuck;
};

// Nothing that is sent to it reaches it any more, nor is answered.
void vanish(const BlockingClient& one) {
    sock_filter drop[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    const sock_fprog program{1, drop};
    BOOST_REQUIRE(setsockopt(one.fd(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(closed_window)

BOOST_AUTO_TEST_CASE(who_answers_probes_is_alive) {
    Fixture it("slow_reader: 0");
    it.fill(false), it.fill(true);
    it.fill(false, kLittle), it.fill(true, kLittle * 5);
    it.pass(kGone * 3 / 2);
    it.daemon.kill_worker(0);
    it.pass(kGone * 3 / 2);
    BOOST_CHECK_EQUAL(it.daemon.count("front", "open"), 4U);
    for (Stuck& one : it.stuck) {
        one.from.end_output();
        BOOST_CHECK_EQUAL(one.to.receive_all().size(), one.sent);
        one.to.close();
    }
    it.wait_closed("finished", 4);
    it.daemon.check_nothing_lost();
}

// Whether its output waits in the kernel or in the worker.
BOOST_AUTO_TEST_CASE(slow_reader_ends_it) {
    Fixture it("slow_reader: 1s");
    it.fill(false), it.fill(true);
    it.fill(false, kLittle), it.fill(true, kLittle * 5);
    it.wait_closed("slow_reader", 4);
    BOOST_CHECK_EQUAL(it.closed("unreachable"), 0U);
}

BOOST_AUTO_TEST_CASE(who_is_gone_is_unreachable) {
    Fixture it("slow_reader: 0, half_close: 0, closing: 0");
    // With its window closed, with what it is sent, and with nothing.
    for (const bool is_up : {false, true}) {
        vanish(it.fill(is_up).to);
        vanish(it.fill(is_up, is_up ? kLittle * 5 : kLittle).to);
        const Stuck& sent = it.fill(is_up, 0);
        vanish(sent.to);
        BOOST_REQUIRE_EQUAL(send(sent.from.fd(), "x", 1, 0), 1);
        vanish(it.fill(is_up, 0).to);
    }
    const auto begin = SteadyClock::now();
    // The end of what is sent is awaited as well.
    Stuck& ended = it.fill(true, 0);
    vanish(ended.to);
    ended.from.end_output();
    it.fill(false);  // this one is there
    it.daemon.change_hands();
    it.wait_closed("unreachable", 9);
    BOOST_CHECK_GT((SteadyClock::now() - begin) / 1ms, 1000);
    BOOST_CHECK_EQUAL(it.daemon.count("front", "open"), 1U);
    it.daemon.check_nothing_lost();
}

// What it had sent before is read first, once there is room for it.
BOOST_AUTO_TEST_CASE(what_it_had_sent_goes_where_it_belongs) {
    Fixture it("slow_reader: 0");
    Stuck& one = it.fill(true);
    one.to.send("a reply that its client waits for");
    BOOST_CHECK_EQUAL(one.from.receive(33), "a reply that its client waits for");
    one.to.send(payload_of(3000));
    vanish(one.from);
    it.pass(kGone * 2);
    BOOST_CHECK_EQUAL(it.daemon.count("front", "open"), 1U);
    std::string room(65536, '\0');
    uint64_t got = 5;
    wait_for("the reset", [&] {
        const ssize_t count = recv(one.to.fd(), room.data(), room.size(), MSG_DONTWAIT);
        if (count > 0) got += static_cast<uint64_t>(count);
        return count < 0 && errno == ECONNRESET;
    });
    it.wait_closed("unreachable", 1);
    BOOST_CHECK_EQUAL(it.daemon.count("front", "received_bytes"), got);
    BOOST_CHECK_GT(got, 100'000U);
}

BOOST_AUTO_TEST_SUITE_END()
