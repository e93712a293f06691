#include "master/crew/children.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

using namespace tcpd;
using namespace tcpd::master;

namespace {

// A child of this process that waits for a signal, reaped in the end.
struct Sleeper {
    pid_t pid = ::fork();
    Sleeper() {
        BOOST_REQUIRE(pid >= 0);
        if (pid == 0) {
            ::pause();
            ::_exit(0);
        }
    }
    ~Sleeper() {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
    }
};

pid_t exited(int code) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(code);
    siginfo_t info{};
    BOOST_REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0);
    return pid;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(children)

BOOST_AUTO_TEST_CASE(only_a_child_is_one) {
    const Sleeper sleeper;
    BOOST_TEST(Children::is_child(sleeper.pid));
    BOOST_TEST(!Children::is_child(::getppid()));
    BOOST_TEST(!Children::is_child(::getpid()));
    BOOST_TEST(!Children::is_child(0));
    BOOST_TEST(!Children::is_child(-1));
}

BOOST_AUTO_TEST_CASE(a_claim_needs_a_child_that_no_other_slot_has) {
    const Sleeper sleeper;
    Children children;
    BOOST_TEST(!children.claim({.pid = ::getppid(), .slot = 0}, 1));
    BOOST_TEST(children.claim({.pid = sleeper.pid, .slot = 0, .part = Part::standby}, 1));
    BOOST_TEST(!children.claim({.pid = sleeper.pid, .slot = 1, .part = Part::worker}, 2));
    BOOST_TEST((children.find(sleeper.pid)->part == Part::standby));
    BOOST_TEST(children.of_slot(1).empty());
    BOOST_TEST(children.of_slot(0).size() == 1U);
}

BOOST_AUTO_TEST_CASE(who_ever_held_the_seat_is_remembered_as_such) {
    const Sleeper sleeper;
    Children children;
    BOOST_REQUIRE(children.claim({.pid = sleeper.pid, .slot = 0, .part = Part::standby}, 5));
    BOOST_TEST(!children.find(sleeper.pid)->held_seat);
    BOOST_REQUIRE(children.claim({.pid = sleeper.pid, .slot = 0, .part = Part::worker}, 6));
    BOOST_REQUIRE(children.claim({.pid = sleeper.pid, .slot = 0, .part = Part::former}, 7));
    BOOST_TEST(children.find(sleeper.pid)->held_seat);
    BOOST_TEST(children.find(sleeper.pid)->known_ns == 5U);
}

BOOST_AUTO_TEST_CASE(a_dead_child_is_looked_at_before_it_is_reaped) {
    const pid_t pid = exited(3);
    for (int i = 0; i < 2; ++i) {
        const auto death = Children::look();
        BOOST_REQUIRE(death.has_value());
        BOOST_TEST(death->pid == pid);
        BOOST_TEST(death->text() == "exited with 3");
        BOOST_TEST(!death->is_clean());
        BOOST_TEST(Children::is_child(pid));
    }
    Children::reap(pid);
    BOOST_TEST(!Children::look().has_value());
    BOOST_TEST(!Children::is_child(pid));
}

BOOST_AUTO_TEST_CASE(an_exit_with_0_is_clean) {
    const pid_t pid = exited(0);
    BOOST_TEST(Children::look()->is_clean());
    Children::reap(pid);
}

BOOST_AUTO_TEST_CASE(a_signal_goes_to_a_slots_own_child_only) {
    Children children;
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::pause();
        ::_exit(0);
    }
    BOOST_TEST(!children.send_signal(pid, 0, SIGKILL));
    BOOST_REQUIRE(children.claim({.pid = pid, .slot = 0}, 1));
    BOOST_TEST(!children.send_signal(pid, 1, SIGKILL));
    BOOST_TEST(children.send_signal(pid, 0, SIGKILL));
    siginfo_t info{};
    BOOST_REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0);
    BOOST_TEST(Children::look()->text() == "killed by SIGKILL");
    Children::reap(pid);
    BOOST_TEST(!children.send_signal(pid, 0, SIGKILL));
    children.forget(pid);
    BOOST_TEST(children.empty());
}

BOOST_AUTO_TEST_CASE(parts_have_names) {
    BOOST_TEST(describe({.slot = 2, .part = Part::worker}) == "worker 2");
    BOOST_TEST(describe({.slot = 0, .part = Part::standby}) == "standby 0");
    BOOST_TEST(describe({.slot = 1, .part = Part::image}) == "image 1");
}

BOOST_AUTO_TEST_SUITE_END()
