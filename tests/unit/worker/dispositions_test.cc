#include "worker/dispositions.h"

#include <boost/test/unit_test.hpp>
#include <csignal>

#include "tests/unit/worker/forked_child.h"

using namespace tcpd;
using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(dispositions)

BOOST_AUTO_TEST_CASE(what_a_terminal_and_a_service_manager_send_is_ignored) {
    ForkedChild child([] {
        if (!worker::set_dispositions()) return 1;
        for (const int sent : {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTTIN, SIGTTOU, SIGTSTP,
                               SIGPIPE, SIGXFSZ, SIGTERM})
            ::raise(sent);
        return 0;
    });
    BOOST_TEST(child.wait() == 0);
}

BOOST_AUTO_TEST_CASE(signals_blocked_over_the_exec_are_unblocked) {
    ForkedChild child([] {
        sigset_t all, now;
        ::sigfillset(&all);
        ::sigprocmask(SIG_SETMASK, &all, nullptr);
        if (!worker::set_dispositions()) return 1;
        ::sigprocmask(SIG_SETMASK, nullptr, &now);
        for (int i = 1; i < SIGRTMAX; ++i)
            if (::sigismember(&now, i) == 1) return 2;
        return 0;
    });
    BOOST_TEST(child.wait() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
