#include "worker/back_off.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <limits>

#include "daemon/base/unique_fd.h"
#include "daemon/slot/layout.h"
#include "tests/unit/worker/forked_child.h"
#include "worker/dispositions.h"

using namespace tcpd;
using namespace tcpd::test;
using namespace tcpd::worker;
using namespace std::chrono_literals;

namespace {

constexpr BackOffLimits kUsual{100ms, 30s};

Duration wait_after(uint32_t short_lives, const BackOffLimits& limits = kUsual) {
    return back_off_after(1, short_lives, limits).wait;
}

struct Control {
    Control() {
        int ends[2];
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        master.reset(ends[0]);
        slot.reset(ends[1]);
    }
    UniqueFd master, slot;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(back_off)

BOOST_AUTO_TEST_CASE(a_life_of_200_ms_ends_the_row) {
    BOOST_TEST((back_off_after(slot::kShortLifeNs, 5, kUsual).wait == 0ms));
    BOOST_TEST(back_off_after(slot::kShortLifeNs, 5, kUsual).short_lives == 0U);
    BOOST_TEST(back_off_after(std::numeric_limits<uint64_t>::max(), 5, kUsual).short_lives == 0U);
    BOOST_TEST((back_off_after(slot::kShortLifeNs - 1, 0, kUsual).wait == 100ms));
    BOOST_TEST(back_off_after(slot::kShortLifeNs - 1, 0, kUsual).short_lives == 1U);
}

BOOST_AUTO_TEST_CASE(each_further_death_doubles_the_wait_up_to_the_most) {
    BOOST_TEST((wait_after(0) == 100ms));
    BOOST_TEST((wait_after(1) == 200ms));
    BOOST_TEST((wait_after(2) == 400ms));
    BOOST_TEST((wait_after(8) == 25600ms));
    BOOST_TEST((wait_after(9) == 30s));
    BOOST_TEST((wait_after(63) == 30s));
    BOOST_TEST((wait_after(64) == 30s));
    BOOST_TEST((wait_after(1'000'000) == 30s));
}

BOOST_AUTO_TEST_CASE(odd_limits_hold) {
    BOOST_TEST((wait_after(0, {0ms, 30s}) == 0ms));
    BOOST_TEST((wait_after(70, {0ms, 30s}) == 0ms));
    BOOST_TEST((wait_after(0, {5s, 1s}) == 1s));
    BOOST_TEST((wait_after(3, {100ms, 0ms}) == 0ms));
    BOOST_TEST((wait_after(70, {1ms, Duration::max()}) == Duration(int64_t{1} << 40)));
    BOOST_TEST(back_off_after(1, std::numeric_limits<uint32_t>::max() - 1, kUsual).short_lives ==
               std::numeric_limits<uint32_t>::max());
}

BOOST_AUTO_TEST_CASE(it_waits_as_long_as_it_should) {
    Control control;
    const uint64_t begin = monotonic_ns();
    BOOST_TEST((wait_out(20ms, control.slot.get()) == WaitEnd::time));
    BOOST_TEST(monotonic_ns() - begin >= to_ns(20ms));
}

BOOST_AUTO_TEST_CASE(a_message_ends_it_and_stays_unread) {
    Control control;
    BOOST_REQUIRE(::send(control.master.get(), "x", 1, 0) == 1);
    BOOST_TEST((wait_out(1h, control.slot.get()) == WaitEnd::control));
    char byte = 0;
    BOOST_TEST(::recv(control.slot.get(), &byte, 1, MSG_DONTWAIT) == 1);
}

BOOST_AUTO_TEST_CASE(the_masters_end_ends_it) {
    Control control;
    control.master.reset();
    BOOST_TEST((wait_out(1h, control.slot.get()) == WaitEnd::control));
}

BOOST_AUTO_TEST_CASE(term_ends_it_and_is_ignored_before_and_after) {
    Control control;
    ForkedChild child([&] {
        if (!set_dispositions()) return 1;
        ::raise(SIGTERM);
        ::send(control.slot.get(), "x", 1, 0);
        if (wait_out(1h, control.slot.get()) != WaitEnd::term) return 2;
        struct sigaction after {};
        ::sigaction(SIGTERM, nullptr, &after);
        return after.sa_handler == SIG_IGN ? 0 : 3;
    });
    char byte = 0;
    BOOST_REQUIRE(::recv(control.master.get(), &byte, 1, 0) == 1);
    BOOST_TEST(comes_true([&] {
        child.signal(SIGTERM);
        return child.is_dead();
    }));
    BOOST_TEST(child.wait() == 0);
}

BOOST_AUTO_TEST_CASE(another_signal_does_not_end_it) {
    Control control;
    ForkedChild child([&] {
        struct sigaction action {};
        action.sa_handler = [](int) {};
        ::sigaction(SIGALRM, &action, nullptr);
        const itimerval every_ms{{0, 1000}, {0, 1000}};
        ::setitimer(ITIMER_REAL, &every_ms, nullptr);
        const uint64_t begin = monotonic_ns();
        return wait_out(30ms, control.slot.get()) == WaitEnd::time && monotonic_ns() - begin >= to_ns(30ms)
                   ? 0
                   : 1;
    });
    BOOST_TEST(child.wait() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
