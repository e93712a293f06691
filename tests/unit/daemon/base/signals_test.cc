#include "daemon/base/signals.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <boost/test/unit_test.hpp>

#include "tests/unit/in_child.h"

using namespace tcpd;

namespace {

bool is_blocked(int number) {
    sigset_t now;
    ::sigprocmask(SIG_SETMASK, nullptr, &now);
    return ::sigismember(&now, number) == 1;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(signals)

BOOST_AUTO_TEST_CASE(a_fork_is_blocked_and_its_parent_as_before) {
    const bool held = test::holds_in_child([] {
        unblock_all_signals();
        const pid_t pid = fork_blocked([] { ::_exit(is_blocked(SIGTERM) && is_blocked(SIGCHLD) ? 0 : 1); });
        int status = -1;
        return !is_blocked(SIGTERM) && ::waitpid(pid, &status, 0) == pid && status == 0;
    });
    BOOST_TEST(held);
}

BOOST_AUTO_TEST_CASE(why_there_is_no_fork_can_be_told) {
    const bool told = test::holds_in_child([] {
        const rlimit none{};
        if (::setrlimit(RLIMIT_NPROC, &none) != 0 || ::setuid(65'534) != 0) return ::geteuid() != 0;
        errno = 0;
        return fork_blocked([] { ::_exit(0); }) == -1 && errno == EAGAIN;
    });
    BOOST_TEST(told);
}

BOOST_AUTO_TEST_CASE(all_is_as_at_the_start_of_a_process) {
    const bool undone = test::holds_in_child([] {
        ::signal(SIGUSR1, SIG_IGN);
        block_all_signals();
        default_all_signals();
        const bool was_blocked = is_blocked(SIGUSR1);
        unblock_all_signals();
        return was_blocked && !is_blocked(SIGUSR1) && ::signal(SIGUSR1, SIG_DFL) == SIG_DFL;
    });
    BOOST_TEST(undone);
}

BOOST_AUTO_TEST_SUITE_END()
