// Other deaths than SIGKILL, at points in the middle of things: real faults in the loop and in another
// thread, abort, exit, a loop that spins or stops, a robust list that was overwritten. Connections live on
// through each.

#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"
#include "tests/support/process_view.h"
#include "tests/support/wait.h"

using namespace tcpd;
using namespace tcpd::test;
using fault::Action;
using fault::Point;

namespace {

constexpr Point kPointsOfAll[] = {Point::recv_done_not_published, Point::send_done_not_published,
                                  Point::journal_half_applied, Point::loop_idle};

// With `watchdog: 1s` where only it ends the worker.
void die_of(Action action, const std::string& said, const std::string& watchdog = "10s",
            rlim_t core_bytes = 0, size_t times_said = 4) {
    FaultArea area;
    FakeUpstream upstream;
    TestDaemon daemon(DaemonOptions{.config = "workers: 1\nsupervisor: {watchdog: " + watchdog +
                                              ", respawn: {initial: 1ms, max: 1ms}}\n" +
                                              "listeners:\n  it: {listen: 127.0.0.1:0, handler: echo}\n"
                                              "  front: {listen: 127.0.0.1:0, handler: {proxy: back}}\n"
                                              "upstreams: {back: {servers: ['" +
                                              upstream.text() + "']}}\n",
                                    .environment = {area.environment()},
                                    .core_bytes = core_bytes});
    ExactPeer peer;
    const Plan plan{.up_bytes = kEndless, .window = 3000, .piece = 1000};
    peer.open(daemon.address("it"), plan, 10);
    peer.open(daemon.address("front"), plan, 10);
    for (const Point point : kPointsOfAll) {
        peer.run_bytes(50'000);
        const uint32_t before = area.acted(point);
        area.arm(point, action, 20);
        peer.run_until("the point to act", [&] { return area.acted(point) > before; });
        peer.run_bytes(200'000);
        peer.run_until("a pair", [&] { return daemon.pids(0).both(); });
    }
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    BOOST_TEST_MESSAGE(peer.results().text());
    daemon.check_nothing_lost();
    wait_for("the log to say " + said, [&] { return daemon.count_in_err(said) >= times_said; });
    wait_for("the dead to have dumped their cores", [&] { return daemon.processes().size() == 3; });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(ways_to_die)

BOOST_AUTO_TEST_CASE(killed) { die_of(Action::kill, "SIGKILL"); }

BOOST_AUTO_TEST_CASE(fault_in_the_loop) { die_of(Action::segfault, "SIGSEGV"); }

// The successor does not wait for the dump. Root's cores are left in "/", where nothing may lie that is not
// ours.
BOOST_AUTO_TEST_CASE(fault_with_a_core_dump) {
    if (is_sanitized() || geteuid() != 0 || read_text("/proc/sys/kernel/core_pattern") != "core\n" ||
        access("/core", F_OK) == 0)
        return;
    die_of(Action::segfault, "SIGSEGV, core dumped", "10s", 256 << 20, 1);  // two at a time: one file
    BOOST_CHECK(unlink("/core") == 0);
}

BOOST_AUTO_TEST_CASE(fault_in_another_thread) { die_of(Action::segfault_in_thread, "SIGSEGV"); }

BOOST_AUTO_TEST_CASE(aborted) { die_of(Action::abort, "SIGABRT"); }

BOOST_AUTO_TEST_CASE(exited) { die_of(Action::exit, "exited with 1"); }

BOOST_AUTO_TEST_CASE(spinning) { die_of(Action::spin, "SIGABRT", "1s"); }

BOOST_AUTO_TEST_CASE(stopped) { die_of(Action::stop, "SIGKILL", "1s"); }

BOOST_AUTO_TEST_CASE(robust_list_overwritten) { die_of(Action::corrupt_robust_list, "SIGKILL"); }

BOOST_AUTO_TEST_SUITE_END()
