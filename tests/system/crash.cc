// Workers are killed and connections live on: exact to the byte, idle or under load, one worker or all at
// once, by SIGKILL, by the signals of a fault, and the successor as soon as it has a standby of its own.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kSupervisor = "supervisor: {respawn: {initial: 1ms, max: 2ms}}\n";

std::string echo_config(unsigned workers) {
    return "workers: " + std::to_string(workers) + "\n" + kSupervisor +
           "listeners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";
}

// Echo, upload and download through the proxy, and echo by the daemon itself.
struct Load {
    explicit Load(const TestDaemon& daemon, unsigned connections = 20) {
        const Address echo = daemon.address("echo"), front = daemon.address("front");
        peer.open(echo, Plan{.up_bytes = kEndless, .window = 4096, .piece = 1500}, connections);
        peer.open(echo, Plan{.up_bytes = 5000, .window = 700, .piece = 700, .repeats = true},
                  connections / 4);
        peer.open(front, Plan{.up_bytes = kEndless, .window = 4096, .piece = 1500}, connections);
        peer.open(front, Plan{.far = Role::source, .up_bytes = kEndless, .down_bytes = kEndless},
                  connections / 4);
        peer.open(front, Plan{.up_bytes = 5000, .window = 700, .piece = 700, .repeats = true},
                  connections / 4);
    }
    void finish() {
        peer.wind_down();
        peer.finish(60s);
        check_all_finished(peer.results());
        BOOST_TEST_MESSAGE(peer.results().text());
    }
    ExactPeer peer;
};

std::string load_config(const FakeUpstream& upstream, unsigned workers) {
    return "workers: " + std::to_string(workers) + "\n" + kSupervisor + "log: {level: warn}\n" +
           "listeners:\n  echo: {listen: 127.0.0.1:0, handler: echo}\n"
           "  front: {listen: 127.0.0.1:0, handler: {proxy: back}}\n"
           "upstreams: {back: {servers: [" +
           upstream.text() + "]}}\n";
}

// While traffic goes on: the slot has another worker, and that one a standby.
void kill_under_load(const TestDaemon& daemon, ExactPeer& peer, unsigned slot, int signal_number = SIGKILL) {
    SlotStatus before;  // as the master sees it: during a renewal there are two pairs
    const auto look = [&] { return daemon.status().slots().at(slot); };
    peer.run_until("worker and standby", [&] { return (before = look()).standby != 0; });
    kill(before.worker, signal_number);
    peer.run_until("a successor", [&] {
        const SlotStatus now = look();
        return now.standby != 0 && now.worker != before.worker && now.standby != before.standby;
    });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(crash)

BOOST_AUTO_TEST_CASE(an_idle_worker) {
    TestDaemon daemon(echo_config(1));
    const Address address = daemon.address("echo");
    BlockingClient client(address);
    for (int i = 0; i < 10; ++i) {
        BOOST_CHECK(client.echoes("before " + std::to_string(i)));
        daemon.kill_worker(0);
        BOOST_CHECK(client.echoes("after " + std::to_string(i)));
        BOOST_CHECK(BlockingClient(address).echoes("a new one"));
    }
    BOOST_CHECK_GE(daemon.count("echo", "adopted crash"), 10U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(the_standby_of_a_dead_worker_takes_its_seat) {
    TestDaemon daemon(echo_config(1));
    const Pids before = daemon.pids(0);
    BOOST_REQUIRE(before.both());
    daemon.kill_worker(0);
    BOOST_CHECK_EQUAL(daemon.pids(0).worker, before.standby);
    wait_for("a status that says so", [&] {
        const SlotStatus slot = daemon.status().slots().at(0);
        return slot.worker == before.standby && slot.standby != before.standby && slot.seats == 2;
    });
    wait_for("the death to be told", [&] { return daemon.count_in_err("SIGKILL") >= 1; });
}

BOOST_AUTO_TEST_CASE(under_load) {
    const FakeUpstream upstream;
    TestDaemon daemon(load_config(upstream, 2));
    Load load(daemon);
    for (unsigned i = 0; i < times(30, 500); ++i) {
        load.peer.run_bytes(200'000 + i * 7919 % 100'000);
        kill_under_load(daemon, load.peer, i % 2);
    }
    load.finish();
    daemon.check_nothing_lost();
    BOOST_CHECK_EQUAL(upstream.settled().finished, upstream.results().accepted);
}

// The kernel's counters and ours pass 32 bits. Long.
BOOST_AUTO_TEST_CASE(beyond_four_gigabytes) {
    if (!is_soak()) return;
    const FakeUpstream upstream;
    TestDaemon daemon(load_config(upstream, 1));
    ExactPeer peer;
    const Plan bulk{.up_bytes = uint64_t{5} << 30, .window = 4 << 20, .piece = 64 * 1024};
    peer.open(daemon.address("echo"), bulk);
    peer.open(daemon.address("front"), bulk);
    peer.run_bytes(uint64_t{9} << 30, 600s);
    while (peer.open_count() != 0) {
        kill_under_load(daemon, peer, 0);
        peer.run_until("bytes", [&, goal = peer.received() + (10 << 20)] {
            return peer.received() >= goal || peer.open_count() == 0;
        });
    }
    check_all_finished(peer.results());
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(all_workers_at_once) {
    const FakeUpstream upstream;
    TestDaemon daemon(load_config(upstream, 4));
    Load load(daemon);
    for (int i = 0; i < 10; ++i) {
        std::vector<Pids> before(4);
        load.peer.run_until("four pairs", [&] {
            for (unsigned slot = 0; slot < 4; ++slot) before[slot] = daemon.pids(slot);
            return std::all_of(before.begin(), before.end(), [](const Pids& pids) { return pids.both(); });
        });
        load.peer.run_bytes(100'000);
        for (const Pids& pids : before) kill(pids.worker, SIGKILL);
        for (unsigned slot = 0; slot < 4; ++slot) {
            load.peer.run_until("a successor", [&] {
                const Pids now = daemon.pids(slot);
                return now.both() && now.worker != before[slot].worker;
            });
        }
    }
    load.finish();
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(the_successor_as_soon_as_it_has_a_standby) {
    const FakeUpstream upstream;
    TestDaemon daemon(load_config(upstream, 1));
    Load load(daemon, 8);
    for (unsigned round = 0; round < times(10, 100); ++round) {
        load.peer.run_bytes(50'000);
        for (int i = 0; i < 4; ++i) kill_under_load(daemon, load.peer, 0);
    }
    load.finish();
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(by_the_signals_of_a_fault) {
    const FakeUpstream upstream;
    TestDaemon daemon(load_config(upstream, 1));
    Load load(daemon);
    for (const int signal_number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
        load.peer.run_bytes(100'000);
        const uint64_t image = daemon.status().slots().at(0).image;
        kill_under_load(daemon, load.peer, 0, signal_number);
        load.peer.run_until("the renewal after it", [&] {
            const SlotStatus now = daemon.status().slots().at(0);
            return now.image != image && now.attempt == 0 && now.standby != 0;
        });
    }
    load.finish();
    daemon.check_nothing_lost();
    for (const char* name : {"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"}) {
        BOOST_CHECK_MESSAGE(daemon.count_in_err(name) >= 1, "the log does not name " << name);
    }
}

BOOST_AUTO_TEST_CASE(one_worker_dies_and_the_others_are_not_disturbed) {
    TestDaemon daemon(echo_config(2));
    const Pids other = daemon.pids(1);
    for (int i = 0; i < 5; ++i) daemon.kill_worker(0);
    const Pids now = daemon.pids(1);
    BOOST_CHECK(now.worker == other.worker && now.standby == other.standby);
}

BOOST_AUTO_TEST_CASE(short_lives_are_waited_for_and_connections_stay) {
    TestDaemon daemon(
        "workers: 1\nsupervisor: {respawn: {initial: 300ms, max: 300ms}}\n"
        "listeners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    const auto image = [&] { return daemon.status().slots().at(0).image; };
    const uint64_t first = image();
    TwoDeaths deaths;
    wait_for("a short life", [&] { return (deaths = daemon.kill_two_workers(0)).was_short_life; });
    BOOST_CHECK(client.echoes("still there"));
    const auto waited = SteadyClock::now() - deaths.second;
    // Unless the master heard of the second death as that of a standby: then it renews the slot at once.
    if (image() == first) BOOST_CHECK_GE(waited / 1ms, 300);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(unix_clients_lose_at_most_one_connection_a_kill) {
    TestDaemon daemon("workers: 1\nlog: {level: warn}\n" + std::string(kSupervisor) +
                      "listeners: {echo: {listen: 'unix:$DIR/echo.sock', handler: echo}}\n");
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 4096, .piece = 1500}, 40);
    for (int i = 0; i < 20; ++i) {
        peer.run_bytes(100'000);
        kill_under_load(daemon, peer, 0);
    }
    peer.wind_down();
    peer.finish();
    const PeerResults results = peer.results();
    BOOST_CHECK_MESSAGE(results.wrong + results.early_end + results.reset <= 20, results.text());
    BOOST_CHECK_EQUAL(results.wrong, 0U);
    const Status status = daemon.status();
    BOOST_CHECK_EQUAL(results.early_end + results.reset, status.count("echo", "closed unix_in_flight"));
    BOOST_CHECK_EQUAL(results.early_end + results.reset, status.total("lost"));
}

BOOST_AUTO_TEST_SUITE_END()
