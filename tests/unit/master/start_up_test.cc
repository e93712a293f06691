#include "master/start_up.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "tests/unit/folder.h"
#include "tests/unit/in_child.h"

using namespace tcpd;
using namespace tcpd::master;

BOOST_AUTO_TEST_SUITE(start_up)

BOOST_AUTO_TEST_CASE(the_budget_is_the_limit_less_what_is_no_connection) {
    const DescriptorBudget budget = make_budget(1024, 3);
    BOOST_TEST(budget.limit == 1024U);
    BOOST_TEST(budget.set_aside == 128U + 3 + 64);
    BOOST_TEST(budget.connections == 1024U - budget.set_aside);
}

BOOST_AUTO_TEST_CASE(a_limit_below_what_is_set_aside_leaves_nothing) {
    const DescriptorBudget budget = make_budget(50, 3);
    BOOST_TEST(budget.connections == 0U);
    BOOST_TEST(
        no_descriptors(budget, 3).text() ==
        "could not serve connections: each worker may have 50 descriptors, and needs 195 beside those of "
        "connections, for 3 listening sockets among others (raise the limit of open files: ulimit -n, "
        "LimitNOFILE= of the unit)");
}

BOOST_AUTO_TEST_CASE(what_a_parent_left_ignored_or_blocked_is_undone) {
    const bool undone = test::holds_in_child([] {
        ::signal(SIGTERM, SIG_IGN);
        sigset_t all;
        ::sigfillset(&all);
        ::sigprocmask(SIG_SETMASK, &all, nullptr);
        reset_signals();
        sigset_t now;
        ::sigprocmask(SIG_SETMASK, nullptr, &now);
        struct sigaction term {
        }, pipe{};
        ::sigaction(SIGTERM, nullptr, &term);
        ::sigaction(SIGPIPE, nullptr, &pipe);
        return ::sigismember(&now, SIGHUP) == 0 && term.sa_handler == SIG_DFL && pipe.sa_handler == SIG_IGN;
    });
    BOOST_TEST(undone);
}

BOOST_AUTO_TEST_CASE(descriptors_of_a_parent_go_no_further) {
    const bool sealed = test::holds_in_child([] {
        const int stray = ::dup(0);
        seal_descriptors();
        return (::fcntl(stray, F_GETFD) & FD_CLOEXEC) != 0 && (::fcntl(2, F_GETFD) & FD_CLOEXEC) == 0;
    });
    BOOST_TEST(sealed);
}

BOOST_AUTO_TEST_CASE(a_log_file_is_appended_to_and_not_for_everybody) {
    const test::Folder folder;
    for (int i = 0; i < 2; ++i) {
        auto fd = open_log(folder / "log");
        BOOST_REQUIRE(fd);
        BOOST_REQUIRE(::write(fd->get(), "line\n", 5) == 5);
    }
    struct stat status {};
    BOOST_REQUIRE(::stat((folder / "log").c_str(), &status) == 0);
    BOOST_TEST(status.st_size == 10);
    BOOST_TEST((status.st_mode & 0137) == 0U);
    BOOST_TEST(!open_log(folder / "no/log"));
}

BOOST_AUTO_TEST_CASE(a_user_that_is_not_there_is_an_error) {
    BOOST_TEST(!check_user("no-such-user-here"));
    BOOST_TEST(static_cast<bool>(check_user("")));
}

BOOST_AUTO_TEST_CASE(an_ordinary_user_cannot_become_another) {
    const bool refused = test::holds_in_child([] {
        if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return false;
        const auto done = check_user("root");
        return !done && done.error().code == ErrorCode::no_permission;
    });
    BOOST_TEST(refused);
}

BOOST_AUTO_TEST_SUITE_END()
