#include "daemon/base/fault_point.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdlib>

#include "daemon/base/unique_fd.h"
#include "tests/unit/in_child.h"

using namespace tcpd;
using fault::Action;
using fault::Point;

namespace {

uint32_t load(uint32_t& word) { return __atomic_load_n(&word, __ATOMIC_SEQ_CST); }

template <typename T>
T* map_shared(int fd) {
    int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    void* mapped = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, flags, fd, 0);
    BOOST_REQUIRE(mapped != MAP_FAILED);
    return static_cast<T*>(mapped);
}

// The file as a test arms it; each child maps it anew.
struct Armed {
    Armed() {
        file.reset(mkstemp(path.data()));
        BOOST_REQUIRE(ftruncate(file.get(), sizeof(fault::Area)) == 0);
        area = map_shared<fault::Area>(file.get());
        setenv("TCPD_FAULT_FILE", path.c_str(), 1);
    }
    ~Armed() {
        unsetenv("TCPD_FAULT_FILE");
        unlink(path.c_str());
        munmap(area, sizeof *area);
    }
    void arm(Point point, Action action, uint32_t countdown = 1, uint32_t every = 0) const {
        area->action = static_cast<uint32_t>(action);
        area->countdown = countdown;
        area->every = every;
        area->armed = static_cast<uint32_t>(point) + 1;
    }
    uint32_t passed(Point point) const { return load(area->passed[static_cast<uint32_t>(point)]); }
    uint32_t acted(Point point) const { return load(area->acted[static_cast<uint32_t>(point)]); }
    std::string path = "/tmp/tcpd-faults-XXXXXX";
    UniqueFd file;
    fault::Area* area = nullptr;
};

// Without cores, which nobody would look at.
int pass_times(int times, Point point = Point::recv_before) {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (!fault::map_area()) return 99;
    for (int i = 0; i < times; ++i) fault::pass(point);
    return 0;
}

int signal_of(const siginfo_t& info) { return info.si_code == CLD_EXITED ? 0 : info.si_status; }

// What the next one finds who locks a robust mutex that a child held when it passed the point.
int lock_after_death(Action action, const Armed& armed) {
    auto* mutex = map_shared<pthread_mutex_t>(-1);
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &robust);
    armed.arm(Point::recv_before, action);
    siginfo_t info = test::run_in_child([mutex] {
        pthread_mutex_lock(mutex);
        return pass_times(1);
    });
    BOOST_TEST(signal_of(info) == SIGKILL);
    int found = pthread_mutex_trylock(mutex);
    munmap(mutex, sizeof *mutex);
    return found;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(fault_point, Armed)

BOOST_AUTO_TEST_CASE(points_have_names) {
    BOOST_TEST(fault::name_of(Point::recv_done_not_published) == std::string("recv.done_not_published"));
    BOOST_TEST(fault::name_of(Point::count) == std::string("none"));
}

BOOST_AUTO_TEST_CASE(nothing_armed_counts_only) {
    BOOST_TEST(test::holds_in_child([] { return pass_times(3) == 0; }));
    BOOST_TEST(passed(Point::recv_before) == 3U);
    BOOST_TEST(passed(Point::send_before) == 0U);
    BOOST_TEST(acted(Point::recv_before) == 0U);
}

BOOST_AUTO_TEST_CASE(nothing_mapped_does_nothing) {
    unsetenv("TCPD_FAULT_FILE");
    arm(Point::recv_before, Action::kill);
    BOOST_TEST(test::holds_in_child([] { return pass_times(1) == 0; }));
    BOOST_TEST(passed(Point::recv_before) == 0U);
}

BOOST_AUTO_TEST_CASE(the_countdown_ends_on_its_pass_and_disarms) {
    arm(Point::recv_before, Action::kill, 3);
    BOOST_TEST(signal_of(test::run_in_child([] { return pass_times(5); })) == SIGKILL);
    BOOST_TEST(passed(Point::recv_before) == 3U);
    BOOST_TEST(acted(Point::recv_before) == 1U);
    BOOST_TEST(area->armed == 0U);
    BOOST_TEST(test::holds_in_child([] { return pass_times(5) == 0; }));
}

BOOST_AUTO_TEST_CASE(every_arms_it_again_for_the_next_process) {
    arm(Point::recv_before, Action::kill, 1, 2);
    BOOST_TEST(signal_of(test::run_in_child([] { return pass_times(1); })) == SIGKILL);
    BOOST_TEST(test::holds_in_child([] { return pass_times(1) == 0; }));
    BOOST_TEST(signal_of(test::run_in_child([] { return pass_times(1); })) == SIGKILL);
    BOOST_TEST(acted(Point::recv_before) == 2U);
}

BOOST_AUTO_TEST_CASE(a_second_point_is_armed_as_the_first_acts) {
    area->then = static_cast<uint32_t>(Point::send_before) + 1;
    arm(Point::recv_before, Action::kill, 2);
    BOOST_TEST(test::holds_in_child([] { return pass_times(1, Point::send_before) == 0; }));
    BOOST_TEST(signal_of(test::run_in_child([] { return pass_times(2); })) == SIGKILL);
    BOOST_TEST(test::holds_in_child([] { return pass_times(1) == 0; }));
    BOOST_TEST(signal_of(test::run_in_child([] { return pass_times(1, Point::send_before); })) == SIGKILL);
    BOOST_TEST(area->armed == 0U);
}

BOOST_AUTO_TEST_CASE(other_points_are_left_alone) {
    arm(Point::send_before, Action::kill);
    BOOST_TEST(test::holds_in_child([] { return pass_times(3) == 0; }));
    BOOST_TEST(area->countdown == 1U);
}

BOOST_AUTO_TEST_CASE(the_ways_to_die) {
    arm(Point::recv_before, Action::segfault);
    BOOST_TEST(signal_of(test::run_in_child([] {
                   signal(SIGSEGV, SIG_DFL);
                   return pass_times(1);
               })) == SIGSEGV);
    arm(Point::recv_before, Action::abort);
    BOOST_TEST(signal_of(test::run_in_child([] {
                   signal(SIGABRT, SIG_DFL);
                   return pass_times(1);
               })) == SIGABRT);
    arm(Point::recv_before, Action::exit);
    siginfo_t info = test::run_in_child([] { return pass_times(1) + 5; });
    BOOST_TEST(info.si_code == CLD_EXITED);
    BOOST_TEST(info.si_status == 1);
}

BOOST_AUTO_TEST_CASE(a_fault_in_another_thread_lets_the_caller_go_on) {
    arm(Point::recv_before, Action::segfault_in_thread);
    siginfo_t info = test::run_in_child([] {
        signal(SIGSEGV, [](int) { _exit(gettid() == getpid() ? 1 : 42); });
        pass_times(1);
        for (;;) pause();
        return 0;
    });
    BOOST_TEST(info.si_code == CLD_EXITED);
    BOOST_TEST(info.si_status == 42);
}

BOOST_AUTO_TEST_CASE(a_corrupt_robust_list_keeps_the_lock_from_its_heir) {
    BOOST_TEST(lock_after_death(Action::kill, *this) == EOWNERDEAD);
    BOOST_TEST(lock_after_death(Action::corrupt_robust_list, *this) == EBUSY);
}

BOOST_AUTO_TEST_CASE(a_process_stops_or_spins_until_it_is_killed) {
    for (Action action : {Action::stop, Action::spin}) {
        arm(Point::loop_idle, action);
        uint32_t before = acted(Point::loop_idle);
        pid_t child = fork();
        if (child == 0) _exit(pass_times(1, Point::loop_idle));
        siginfo_t info{};
        if (action == Action::stop) {
            BOOST_TEST(waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED | WEXITED) == 0);
            BOOST_TEST(info.si_code == CLD_STOPPED);
        }
        while (acted(Point::loop_idle) == before) sched_yield();
        BOOST_TEST(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0);
        kill(child, SIGKILL);
        BOOST_TEST(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED) == 0);
        BOOST_TEST(info.si_status == SIGKILL);
    }
}

BOOST_AUTO_TEST_CASE(a_file_that_is_not_there_or_too_small_is_an_error) {
    std::string missing = path + "x";
    setenv("TCPD_FAULT_FILE", missing.c_str(), 1);
    BOOST_TEST(test::holds_in_child([] { return fault::map_area().error().code == ErrorCode::not_found; }));
    setenv("TCPD_FAULT_FILE", "/dev/null", 1);
    BOOST_TEST(test::holds_in_child([] { return fault::map_area().error().code == ErrorCode::bad_format; }));
}

BOOST_AUTO_TEST_SUITE_END()
