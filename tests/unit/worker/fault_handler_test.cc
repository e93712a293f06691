#include "worker/fault_handler.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <boost/test/unit_test.hpp>
#include <thread>

#include "tests/unit/worker/forked_child.h"
#include "tests/unit/worker/robust_list.h"
#include "tests/unit/worker/shared_page.h"

using namespace tcpd;
using namespace tcpd::test;
using namespace tcpd::worker;

namespace {

struct Seen {
    slot::WorkerControl control{};
    std::atomic<bool> is_held{false};
    std::atomic<uint64_t> turns{0};
    std::atomic<uint64_t> turns_when_taken{0};
};

struct FaultFixture {
    FaultFixture() { BOOST_REQUIRE(made); }
    Result<Seat> made = Seat::create();
    Seat& seat = *made;
    SharedPage<Seen> seen;

    // The exit of a worker whose loop's thread runs `loop`. Its standby can only be woken by the handler; it
    // records where the loop was when it took over.
    template <typename Loop>
    int succeed_to(Loop loop) {
        ForkedChild worker([&, this] {
            if (!prepare_fault_handler(seat, seen->control)) return 1;
            seat.wait({});
            set_loop_thread(::gettid());
            overwrite_robust_list();
            seen->is_held = true;
            loop();
            return 2;
        });
        BOOST_REQUIRE(comes_true([&] { return seen->is_held.load(); }));
        ForkedChild standby([this] {
            seat.wait({});
            seen->turns_when_taken = seen->turns.load();
            return seen->control.fault_signal.load() == 0 ? 99 : 0;
        });
        const int exit = worker.wait();
        taken_after_fault = standby.wait() == 0;
        return exit;
    }
    bool taken_after_fault = false;
};

// No null pointer: a sanitizer would see that one coming.
void write_where_nothing_is() {
    void* page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *static_cast<volatile int*>(page) = 1;
}

// Through a pointer, since the compiler warns of what this test is about.
int (*volatile deeper)(int) = nullptr;

int overflow_stack(int depth) {
    volatile char room[4096];
    room[depth % 4096] = 1;
    return deeper(depth + 1) + room[0];
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(fault_handler, FaultFixture)

BOOST_AUTO_TEST_CASE(a_segfault_gives_the_seat_away_and_dies_of_it) {
    BOOST_TEST(succeed_to(write_where_nothing_is) == 128 + SIGSEGV);
    BOOST_TEST(taken_after_fault);
    BOOST_TEST(seen->control.fault_signal == static_cast<uint32_t>(SIGSEGV));
}

BOOST_AUTO_TEST_CASE(an_abort_does_too) {
    BOOST_TEST(succeed_to([] { ::abort(); }) == 128 + SIGABRT);
    BOOST_TEST(seen->control.fault_signal == static_cast<uint32_t>(SIGABRT));
}

BOOST_AUTO_TEST_CASE(a_watchdogs_abort_from_outside_does_too) {
    BOOST_TEST(succeed_to([] {
                   ::kill(::getpid(), SIGABRT);
                   for (;;) ::pause();
               }) == 128 + SIGABRT);
    BOOST_TEST(seen->control.fault_signal == static_cast<uint32_t>(SIGABRT));
}

BOOST_AUTO_TEST_CASE(a_bus_error_does_too) {
    BOOST_TEST(succeed_to([] {
                   const int fd = ::memfd_create("empty", MFD_CLOEXEC);
                   auto* page =
                       static_cast<volatile char*>(::mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, fd, 0));
                   page[0] = 1;
               }) == 128 + SIGBUS);
    BOOST_TEST(seen->control.fault_signal == static_cast<uint32_t>(SIGBUS));
}

BOOST_AUTO_TEST_CASE(a_stack_that_overflows_does_too) {
    BOOST_TEST(succeed_to([] {
                   deeper = overflow_stack;
                   overflow_stack(0);
               }) == 128 + SIGSEGV);
    BOOST_TEST(seen->control.fault_signal == static_cast<uint32_t>(SIGSEGV));
}

BOOST_AUTO_TEST_CASE(another_threads_fault_stops_the_loop_first) {
    const int exit = succeed_to([this] {
        std::thread faulty(write_where_nothing_is);
        for (;;) ++seen->turns;
    });
    BOOST_TEST(exit == 128 + SIGSEGV);
    BOOST_TEST(taken_after_fault);
    BOOST_TEST(seen->turns == seen->turns_when_taken);
}

BOOST_AUTO_TEST_CASE(the_loops_signal_from_outside_means_nothing) {
    ForkedChild worker([this] {
        if (!prepare_fault_handler(seat, seen->control)) return 1;
        seat.wait({});
        set_loop_thread(::gettid());
        ::raise(SIGRTMIN + 2);
        return seat.holder() == ::getpid() ? 7 : 1;
    });
    BOOST_TEST(worker.wait() == 7);
    BOOST_TEST(seen->control.fault_signal == 0U);
}

BOOST_AUTO_TEST_CASE(a_standbys_fault_takes_nothing_from_its_worker) {
    ForkedChild standby([this] {
        if (!prepare_fault_handler(seat, seen->control)) return 1;
        seat.wait({});
        set_loop_thread(0);
        seen->is_held = true;
        write_where_nothing_is();
        return 2;
    });
    BOOST_TEST(standby.wait() == 128 + SIGSEGV);
    BOOST_TEST(seen->control.fault_signal == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
