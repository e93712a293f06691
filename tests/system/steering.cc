// New TCP connections spread over the slots in service; a slot that waits out its back-off gets none.

#include <boost/test/unit_test.hpp>
#include <deque>
#include <filesystem>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/conditions.h"
#include "tests/support/exact_peer.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::vector<size_t> tables(const TestDaemon& daemon, unsigned slots) {
    std::vector<size_t> sizes;
    for (unsigned slot = 0; slot < slots; ++slot) sizes.push_back(daemon.descriptors(slot));
    return sizes;
}

// Of the master: how many BPF programs it holds, and which.
std::vector<std::string> programs(const TestDaemon& daemon) {
    std::vector<std::string> ids;
    const std::string process = "/proc/" + std::to_string(daemon.master());
    for (const auto& entry : std::filesystem::directory_iterator(process + "/fd")) {
        std::error_code failed;
        const auto target = std::filesystem::read_symlink(entry.path(), failed);
        if (target.string() != "anon_inode:bpf-prog") continue;
        std::ifstream about(process + "/fdinfo/" + entry.path().filename().string());
        for (std::string line; std::getline(about, line);)
            if (line.starts_with("prog_id")) ids.push_back(line);
    }
    std::sort(ids.begin(), ids.end());
    return ids;
}

std::string with_addresses(int count) {
    std::string text = "workers: 2\nlisteners: {echo: {handler: echo, listen: [";
    for (int i = 0; i < count; ++i)
        text += (i == 0 ? "'" : ", '") + std::string("127.0.7.") + std::to_string(i + 1) + ":0'";
    return text + "]}}\n";
}

// Two clients of each address, one at a time: each worker gets as many as the other.
void check_all_steered(const TestDaemon& daemon, size_t count) {
    daemon.wait_complete(2);
    std::vector<std::unique_ptr<BlockingClient>> clients;
    const std::vector<size_t> before = tables(daemon, 2);
    for (size_t i = 0; i < count; ++i) {
        for (int twice = 0; twice < 2; ++twice) {
            clients.push_back(std::make_unique<BlockingClient>(daemon.address("echo", i)));
            BOOST_REQUIRE(clients.back()->echoes("x"));
        }
    }
    const std::vector<size_t> after = tables(daemon, 2);
    for (size_t slot = 0; slot < 2; ++slot) BOOST_CHECK_GE(after[slot] - before[slot] + 2, count);
    clients.clear();
    wait_for("the closes", [&] { return daemon.open_connections() == 0; });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(steering)

BOOST_AUTO_TEST_CASE(every_slot_gets_its_share) {
    TestDaemon daemon("workers: 4\nlisteners: {echo: {listen: ['127.0.0.1:0', '[::1]:0'], handler: echo}}\n");
    daemon.wait_complete(4);
    const std::vector<size_t> before = tables(daemon, 4);
    ExactPeer peer;
    const Plan held{.up_bytes = 100, .window = 100, .holds = true};
    for (size_t n = 0; n < 2; ++n) peer.open(daemon.address("echo", n), held, 200);
    peer.run_until("their echoes", [&] { return peer.received() == 400 * 100; });
    const std::vector<size_t> after = tables(daemon, 4);
    for (size_t slot = 0; slot < 4; ++slot) {
        BOOST_TEST_MESSAGE("slot " << slot << " got " << after[slot] - before[slot]);
        BOOST_CHECK_GE(after[slot] - before[slot], 60U);  // 100 expected, 4.6 standard deviations
    }
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
}

size_t held_by(const TestDaemon& daemon, unsigned slot, size_t empty) {
    return daemon.descriptors(slot) - empty;
}

// 4,000 clients of four workers, half of them replaced again and again with something in between: max/mean is
// at most `limit` each time.
void check_spread(const TestDaemon& daemon, double limit) {
    daemon.wait_complete(4);
    const size_t empty = tables(daemon, 4).front();
    const Address address = daemon.address("echo");
    std::deque<std::unique_ptr<BlockingClient>> clients;
    const auto fill = [&] {
        while (clients.size() < 4000) {
            clients.push_back(std::make_unique<BlockingClient>(address));
            BOOST_REQUIRE(clients.back()->echoes("x"));
        }
        size_t most = 0;
        std::string all;
        for (unsigned slot = 0; slot < 4; ++slot) {
            const size_t held = held_by(daemon, slot, empty);
            most = std::max(most, held);
            all += " " + std::to_string(held);
        }
        BOOST_CHECK_MESSAGE(static_cast<double>(most) / 1000 <= limit, "the slots hold" << all);
    };
    const auto replace_half = [&] {
        clients.erase(clients.begin(), clients.begin() + 2000);
        wait_for("the closes", [&] { return daemon.open_connections() == 2000; });
        fill();
    };
    fill();
    replace_half();
    daemon.kill_worker(1);
    replace_half();
    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
    replace_half();
    daemon.check_nothing_lost();
}

constexpr const char* kFour = "workers: 4\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

BOOST_AUTO_TEST_CASE(the_worker_with_the_fewest_gets_the_next) {
    TestDaemon daemon(kFour);
    if (daemon.count_in_err("new connections go to the worker that has the fewest") == 0) {
        BOOST_TEST_MESSAGE("not tried: no right to use BPF");
        return;
    }
    check_spread(daemon, 1.01);
}

// Each that the kernel looks through costs it milliseconds, in which the master does nothing else.
BOOST_AUTO_TEST_CASE(one_program_serves_all_addresses) {
    TestDaemon daemon(with_addresses(20));
    if (daemon.count_in_err("new connections go to the worker that has the fewest") == 0) {
        BOOST_TEST_MESSAGE("not tried: no right to use BPF");
        return;
    }
    const std::vector<std::string> at_first = programs(daemon);
    BOOST_REQUIRE_EQUAL(at_first.size(), 1U);
    check_all_steered(daemon, 20);
    const auto change_to = [&](int addresses, const char* verb) {
        std::ofstream(daemon.config_path()) << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\n"
                                            << with_addresses(addresses);
        BOOST_REQUIRE_EQUAL(daemon.verb(verb).exit, 0);
    };
    change_to(40, "reload");
    change_to(40, "upgrade");
    BOOST_TEST(programs(daemon) == at_first);
    check_all_steered(daemon, 40);
    change_to(60, "reload");  // more than the first was made for
    BOOST_CHECK_EQUAL(programs(daemon).size(), 2U);
    change_to(30, "upgrade");
    change_to(60, "reload");
    BOOST_CHECK_EQUAL(programs(daemon).size(), 2U);
    check_all_steered(daemon, 60);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(without_bpf_chance_is_made_up_for, *boost::unit_test::precondition(is_root)) {
    TestDaemon daemon(DaemonOptions{
        .config = kFour,
        .prefix = {"setpriv", "--bounding-set", "-bpf,-net_admin,-sys_admin", "--inh-caps", "-all"}});
    BOOST_CHECK_EQUAL(daemon.count_in_err("new connections are spread at random: could not make the BPF map"),
                      1U);
    // 1.05 where the master gets to run; where others keep it from it, chance has more time.
    check_spread(daemon, 1.08);
}

BOOST_AUTO_TEST_CASE(a_slot_in_back_off_gets_none) {
    TestDaemon daemon(
        "workers: 2\nsupervisor: {respawn: {initial: 15s, max: 15s}}\n"
        "listeners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    const auto state = [&] { return daemon.status().slots().at(0).state; };
    wait_for("a short life", [&] { return daemon.kill_two_workers(0).was_short_life; });
    wait_for("the back-off", [&] { return state() == "backing_off"; });
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < 30; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(address));
        BOOST_CHECK(clients.back()->echoes("hello"));
    }
    BOOST_CHECK_EQUAL(state(), "backing_off");  // so nobody waited for its end
}

BOOST_AUTO_TEST_SUITE_END()
