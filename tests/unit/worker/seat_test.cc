#include "worker/seat.h"

#include <linux/futex.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "daemon/slot/control_message.h"
#include "tests/unit/worker/forked_child.h"
#include "tests/unit/worker/robust_list.h"
#include "tests/unit/worker/shared_page.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::Seat;

namespace {

constexpr pid_t kNobody = 1 << 22;  // no process has this number, whatever pid_max is

struct Seen {
    std::atomic<int> taken{0};
    std::atomic<uint32_t> dead_pid{0};
};

struct SeatFixture {
    SeatFixture() {
        BOOST_REQUIRE(made);
        BOOST_REQUIRE(Seat::prepare_second_way());
    }
    Result<Seat> made = Seat::create();
    Seat& seat = *made;
    SharedPage<Seen> seen;

    // Holds the seat until it is killed; nobody else has it when the constructor returns.
    template <typename Then>
    std::unique_ptr<ForkedChild> start_holder(Then then) {
        auto holder = std::make_unique<ForkedChild>([this, then] {
            seat.wait({});
            then();
            ++seen->taken;
            for (;;) ::pause();
            return 0;
        });
        BOOST_REQUIRE(comes_true([&] { return seen->taken == 1; }));
        return holder;
    }
    std::unique_ptr<ForkedChild> start_holder() {
        return start_holder([] {});
    }
    // Exits with 0 once it has the seat.
    std::unique_ptr<ForkedChild> start_standby(pid_t predecessor) {
        return std::make_unique<ForkedChild>([this, predecessor] {
            seat.wait({predecessor, &seen->dead_pid});
            return seat.holder() == ::getpid() ? 0 : 1;
        });
    }
    std::atomic<uint32_t>& word() { return **reinterpret_cast<std::atomic<uint32_t>**>(&seat); }
};

// In futex_wait, by the kernel's own word.
bool is_asleep(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/syscall");
    long number = -1;
    return file >> number && number == SYS_futex;
}

bool is_stopped(pid_t pid) {
    int status = 0;
    return ::waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
}

// Until `holds`; the child is stopped then.
template <typename Condition>
bool step_until(pid_t pid, Condition holds) {
    while (!holds()) {
        if (::ptrace(PTRACE_SINGLESTEP, pid, 0, 0) != 0 || !is_stopped(pid)) return false;
    }
    return true;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(seat_test, SeatFixture)

BOOST_AUTO_TEST_CASE(a_new_seat_is_nobodys_and_free) {
    BOOST_TEST(seat.holder() == 0);
    BOOST_TEST(start_standby(0)->wait() == 0);
}

BOOST_AUTO_TEST_CASE(a_killed_holder_wakes_its_standby) {
    auto holder = start_holder();
    auto standby = start_standby(holder->pid());
    BOOST_REQUIRE(comes_true([&] { return is_asleep(standby->pid()); }));
    BOOST_TEST(seat.holder() == holder->pid());
    holder->kill();
    BOOST_TEST(standby->wait() == 0);
}

BOOST_AUTO_TEST_CASE(a_holder_that_died_before_the_wait_is_succeeded) {
    auto holder = start_holder();
    holder->kill();
    holder->wait();
    BOOST_TEST(seat.holder() == 0);
    BOOST_TEST(start_standby(0)->wait() == 0);
}

BOOST_AUTO_TEST_CASE(with_a_broken_list_the_second_way_wakes_the_standby) {
    auto holder = start_holder(overwrite_robust_list);
    auto standby = start_standby(holder->pid());
    BOOST_REQUIRE(comes_true([&] { return is_asleep(standby->pid()); }));
    holder->kill();
    BOOST_REQUIRE(comes_true([&] { return holder->is_dead(); }));
    BOOST_TEST(seat.holder() == holder->pid());   // the kernel found nothing
    standby->signal(slot::holder_died_signal());  // and nobody says who died
    BOOST_REQUIRE(comes_true([&] { return is_asleep(standby->pid()); }));
    BOOST_TEST(!standby->is_dead());
    seen->dead_pid = static_cast<uint32_t>(holder->pid());
    standby->signal(slot::holder_died_signal());
    BOOST_TEST(standby->wait() == 0);
}

BOOST_AUTO_TEST_CASE(the_second_way_needs_no_sound_word) {
    auto holder = start_holder([this] { word() = 0x1234; });
    auto standby = start_standby(holder->pid());
    BOOST_REQUIRE(comes_true([&] { return is_asleep(standby->pid()); }));
    holder->kill();
    BOOST_REQUIRE(comes_true([&] { return holder->is_dead(); }));
    seen->dead_pid = static_cast<uint32_t>(holder->pid());
    standby->signal(slot::holder_died_signal());
    BOOST_TEST(standby->wait() == 0);
}

BOOST_AUTO_TEST_CASE(a_death_that_was_told_before_the_wait_is_not_missed) {
    auto holder = start_holder(overwrite_robust_list);
    holder->kill();
    BOOST_REQUIRE(comes_true([&] { return holder->is_dead(); }));
    seen->dead_pid = static_cast<uint32_t>(holder->pid());
    BOOST_TEST(start_standby(holder->pid())->wait() == 0);
}

BOOST_AUTO_TEST_CASE(another_ones_death_is_none_of_the_standbys) {
    auto holder = start_holder();
    auto standby = start_standby(holder->pid());
    BOOST_REQUIRE(comes_true([&] { return is_asleep(standby->pid()); }));
    seen->dead_pid = static_cast<uint32_t>(::getpid());
    standby->signal(slot::holder_died_signal());
    BOOST_REQUIRE(comes_true([&] { return is_asleep(standby->pid()); }));
    BOOST_TEST(seat.holder() == holder->pid());
}

BOOST_AUTO_TEST_CASE(a_holder_ignores_a_late_signal_about_its_predecessor) {
    seen->dead_pid = uint32_t{kNobody};
    ForkedChild holder([this] {
        seat.wait({kNobody, &seen->dead_pid});
        ::raise(slot::holder_died_signal());
        return seat.holder() == ::getpid() ? 0 : 1;
    });
    BOOST_TEST(holder.wait() == 0);
}

// It is told of the death that it has just seen by itself, so many instructions after it took the seat.
BOOST_AUTO_TEST_CASE(a_signal_that_comes_with_the_seat_does_not_make_it_vacant) {
    seen->dead_pid = uint32_t{kNobody};
    constexpr int kMostInstructions = 60;
    for (int instructions = 0; instructions < kMostInstructions; ++instructions) {
        word() = FUTEX_OWNER_DIED;
        ForkedChild standby([this] {
            ::ptrace(PTRACE_TRACEME, 0, 0, 0);
            ::raise(SIGSTOP);
            seat.wait({kNobody, &seen->dead_pid});
            // It is still there, so many instructions later.
            for (int left = kMostInstructions; left > 0; --left) asm volatile("");
            return seat.holder() == ::getpid() ? 0 : 1;
        });
        BOOST_REQUIRE(is_stopped(standby.pid()));
        BOOST_REQUIRE(step_until(standby.pid(), [&] { return seat.holder() != 0; }));
        int left = instructions;
        BOOST_REQUIRE(step_until(standby.pid(), [&] { return left-- == 0; }));
        ::ptrace(PTRACE_CONT, standby.pid(), 0, slot::holder_died_signal());
        BOOST_TEST(standby.wait() == 0);
    }
}

BOOST_AUTO_TEST_CASE(a_holder_is_not_taken_for_a_dead_one_of_its_number) {
    ForkedChild holder([this] {
        seen->dead_pid = static_cast<uint32_t>(::getpid());
        seat.wait({0, &seen->dead_pid});
        return seen->dead_pid == 0 ? 0 : 1;
    });
    BOOST_TEST(holder.wait() == 0);
    seen->dead_pid = uint32_t{kNobody};
    BOOST_TEST(start_standby(0)->wait() == 0);
    BOOST_TEST(seen->dead_pid == uint32_t{kNobody});
}

BOOST_AUTO_TEST_CASE(only_the_holder_can_give_its_seat_away) {
    auto holder = start_holder();
    BOOST_TEST(!seat.give_away(::getpid()));
    BOOST_TEST(!seat.give_away(0));
    BOOST_TEST(seat.holder() == holder->pid());
    BOOST_TEST(seat.give_away(holder->pid()));
    BOOST_TEST(!seat.give_away(holder->pid()));
    BOOST_TEST(seat.holder() == 0);
}

BOOST_AUTO_TEST_CASE(a_seat_given_away_is_taken_while_the_giver_lives) {
    auto holder = start_holder();
    ForkedChild standby([this] {
        seat.wait({});
        ++seen->taken;
        for (;;) ::pause();
        return 0;
    });
    BOOST_REQUIRE(comes_true([&] { return is_asleep(standby.pid()); }));
    BOOST_TEST(seat.give_away(holder->pid()));
    BOOST_REQUIRE(comes_true([&] { return seen->taken == 2; }));
    holder->kill();
    holder->wait();
    BOOST_TEST(seat.holder() == standby.pid());  // the giver's own exit takes nothing from its successor
}

BOOST_AUTO_TEST_CASE(of_many_that_come_and_go_one_holds_it_at_a_time) {
    SharedPage<std::atomic<int>> inside;
    std::vector<std::unique_ptr<ForkedChild>> children;
    for (int i = 0; i < 4; ++i)
        children.push_back(std::make_unique<ForkedChild>([&] {
            for (int turn = 0; turn < 3'000; ++turn) {
                seat.wait({});
                const bool alone = inside->fetch_add(1) == 0;
                for (volatile int spin = 0; spin < 100;) spin = spin + 1;
                inside->fetch_sub(1);
                if (!alone || !seat.give_away(::getpid())) return 1;
            }
            return 0;
        }));
    for (auto& child : children) BOOST_TEST(child->wait() == 0);
}

BOOST_AUTO_TEST_CASE(an_exit_frees_it_like_a_kill) {
    std::vector<std::unique_ptr<ForkedChild>> children;
    for (int i = 0; i < 12; ++i) children.push_back(start_standby(0));
    for (auto& child : children) BOOST_TEST(child->wait() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
