// A signal that came when all was done already ended the master as killed by it, instead of with 0.

#include <boost/test/unit_test.hpp>
#include <csignal>

#include "tests/support/test_daemon.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(signal_at_the_end)

BOOST_AUTO_TEST_CASE(however_late_it_comes_the_exit_is_0) {
    for (int i = 0; i < 30; ++i) {
        TestDaemon daemon(
            DaemonOptions{.config = "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n"});
        while (!daemon.has_ended()) daemon.send(SIGINT);
        BOOST_TEST(daemon.wait_exit() == 0);
    }
}

BOOST_AUTO_TEST_SUITE_END()
