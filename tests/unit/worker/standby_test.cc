#include "worker/standby.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <thread>

#include "tests/unit/worker/forked_child.h"
#include "tests/unit/worker/shared_page.h"
#include "worker/seat.h"

using namespace tcpd;
using namespace tcpd::test;
using namespace tcpd::worker;

namespace {

struct Seen {
    slot::WorkerControl control{};
    std::atomic<int> steps{0};
    std::atomic<int> result{-1};
    std::atomic<int> fd{-1};
    std::atomic<pid_t> worker{0}, standby{0};
};

// What glibc takes for the calling thread's id.
pid_t cached_tid() {
    pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    ::pthread_mutex_lock(&mutex);
    const pid_t owner = mutex.__data.__owner;
    ::pthread_mutex_unlock(&mutex);
    return owner;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(standby)

BOOST_AUTO_TEST_CASE(a_standby_is_a_child_of_the_workers_parent) {
    SharedPage<Seen> seen;
    seen->control.clones = slot::kRecentClones + 3;
    ForkedChild worker([&] {
        prepare_clones();
        const pid_t pid = clone_standby(seen->control);
        if (pid == 0) ::_exit(cached_tid() == ::gettid() ? 42 : 1);
        seen->standby = pid;
        return pid > 0 ? 0 : 1;
    });
    BOOST_TEST(worker.wait() == 0);
    BOOST_TEST(seen->control.clones == slot::kRecentClones + 4);
    BOOST_TEST(seen->control.clone_tids[3] == static_cast<uint32_t>(seen->standby));
    BOOST_TEST(wait_exit(seen->standby) == 42);
}

BOOST_AUTO_TEST_CASE(a_clone_of_a_clone_knows_its_thread_as_well) {
    SharedPage<Seen> seen;
    ForkedChild worker([&] {
        prepare_clones();
        if (clone_standby(seen->control) != 0) return 0;
        seen->worker = ::getpid();
        count_own_clone(seen->control);
        const pid_t pid = clone_standby(seen->control);
        if (pid == 0) ::_exit(cached_tid() == ::gettid() ? 42 : 1);
        seen->standby = pid;
        ::_exit(43);
    });
    BOOST_TEST(worker.wait() == 0);
    BOOST_REQUIRE(comes_true([&] { return seen->standby != 0; }));
    BOOST_TEST(wait_exit(seen->worker) == 43);
    BOOST_TEST(wait_exit(seen->standby) == 42);
    BOOST_TEST(seen->control.clones == 2U);
    BOOST_TEST(seen->control.clone_tids[1] == static_cast<uint32_t>(seen->standby));
}

BOOST_AUTO_TEST_CASE(they_share_the_descriptors_but_not_the_memory) {
    SharedPage<Seen> seen;
    int own = 1;
    ForkedChild worker([&] {
        const pid_t pid = clone_standby(seen->control);
        if (pid != 0) {
            own = 2;
            seen->fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
            return 0;
        }
        const bool came = comes_true([&] { return seen->fd >= 0; });
        ::_exit(came && own == 1 && ::fcntl(seen->fd, F_GETFD) >= 0 ? 42 : 1);
    });
    BOOST_TEST(worker.wait() == 0);
    BOOST_TEST(wait_exit(static_cast<pid_t>(seen->control.clone_tids[0])) == 42);
}

BOOST_AUTO_TEST_CASE(no_clone_is_made_beside_another_thread) {
    SharedPage<Seen> seen;
    ForkedChild worker([&] {
        std::thread sleeper([] {
            for (;;) ::pause();
        });
        seen->result = clone_standby(seen->control) == -1 ? errno : 0;
        sleeper.detach();
        return 0;
    });
    BOOST_TEST(worker.wait() == 0);
    BOOST_TEST(seen->result == EBUSY);
    BOOST_TEST(seen->control.clones == 0U);
}

// As when the worker dies between the clone and the count.
BOOST_AUTO_TEST_CASE(a_clone_that_was_not_counted_counts_itself) {
    SharedPage<Seen> seen;
    ForkedChild worker([&] {
        if (clone_standby(seen->control) != 0) {
            seen->control.clones = 0;
            seen->steps = 1;
            return 0;
        }
        comes_true([&] { return seen->steps == 1; });
        count_own_clone(seen->control);
        const pid_t pid = clone_standby(seen->control);
        ::_exit(pid == 0 ? 0 : 42);
    });
    BOOST_TEST(worker.wait() == 0);
    BOOST_TEST(wait_exit(static_cast<pid_t>(seen->control.clone_tids[0])) == 42);
    BOOST_TEST(wait_exit(static_cast<pid_t>(seen->control.clone_tids[1])) == 0);
    BOOST_TEST(seen->control.clones == 2U);
}

BOOST_AUTO_TEST_CASE(the_first_of_an_image_counts_nothing) {
    SharedPage<Seen> seen;
    seen->control.clones = 5;
    ForkedChild worker([&] {
        count_own_clone(seen->control);
        return 0;
    });
    BOOST_TEST(worker.wait() == 0);
    BOOST_TEST(seen->control.clones == 5U);
}

// Each kill hits the holder as soon as its standby is known; two processes are left at the end, whatever
// happened.
BOOST_AUTO_TEST_CASE(three_hundred_kills_leave_one_pair) {
    SharedPage<Seen> seen;
    auto seat = Seat::create();
    BOOST_REQUIRE(seat);
    ForkedChild first([&] {
        prepare_clones();
        for (;;) {
            seat->wait({});
            const pid_t pid = clone_standby(seen->control);
            if (pid == 0) continue;
            seen->worker = ::getpid();
            seen->standby = pid;
            ++seen->steps;
            for (;;) ::pause();
        }
        return 0;
    });
    BOOST_REQUIRE(comes_true([&] { return seen->steps == 1; }));
    for (int i = 2; i <= 301; ++i) {
        const pid_t dying = seen->worker, next = seen->standby;
        if (i == 2)
            first.kill(), first.wait();
        else
            ::kill(dying, SIGKILL), wait_exit(dying);
        BOOST_REQUIRE(comes_true([&] { return seen->steps == i; }));
        BOOST_REQUIRE(seen->worker == next);
    }
    BOOST_TEST(seen->control.clones == 301U);
    ::kill(seen->standby, SIGKILL);
    ::kill(seen->worker, SIGKILL);
    BOOST_TEST(wait_exit(seen->standby) == 128 + SIGKILL);
    BOOST_TEST(wait_exit(seen->worker) == 128 + SIGKILL);
}

BOOST_AUTO_TEST_SUITE_END()
