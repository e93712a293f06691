#include "daemon/base/process.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/support/conditions.h"
#include "tests/unit/in_child.h"

using namespace tcpd;
using test::holds_in_child;
using test::is_root;

namespace {

std::string file_text(const char* path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

// As ps shows it: without the NULs behind.
std::string command_line() {
    std::string text = file_text("/proc/self/cmdline");
    text.resize(text.find_last_not_of('\0') + 1);
    return text;
}

bool is_null(int fd) {
    struct stat status {};
    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

bool has_line(const std::string& text, const std::string& line) {
    return text.find(line) != std::string::npos;
}

const User kNobody{65534, 65534, {65534, 100}, "nobody"};

}  // namespace

BOOST_AUTO_TEST_SUITE(process)

BOOST_AUTO_TEST_CASE(a_title_replaces_the_command_line_and_leaves_the_name) {
    BOOST_TEST(holds_in_child([] {
        set_process_title("tcpd: worker 0");
        return command_line() == "tcpd: worker 0" && file_text("/proc/self/comm") == "tcpd\n";
    }));
}

BOOST_AUTO_TEST_CASE(a_shorter_title_leaves_nothing_of_the_longer) {
    BOOST_TEST(holds_in_child([] {
        set_process_title("tcpd: master /a/rather/long/path/to/a/configuration/file.yaml");
        bool long_one = command_line() == "tcpd: master /a/rather/long/path/to/a/configuration/file.yaml";
        set_process_title("tcpd: standby 3");
        return long_one && command_line() == "tcpd: standby 3" && file_text("/proc/self/comm") == "tcpd\n";
    }));
}

BOOST_AUTO_TEST_CASE(a_title_longer_than_the_room_is_cut) {
    BOOST_TEST(holds_in_child([] {
        std::string title(1 << 20, 't');
        set_process_title(title);
        std::string shown = command_line();
        return !shown.empty() && title.starts_with(shown) && getenv("PATH") != nullptr;
    }));
}

BOOST_AUTO_TEST_CASE(titles_leave_environment_and_arguments_alone) {
    BOOST_TEST(holds_in_child([] {
        std::string path = getenv("PATH"), name = program_invocation_short_name;
        set_process_title(std::string(4096, 'x'));
        return path == getenv("PATH") && name == program_invocation_short_name &&
               setenv("TCPD_TEST", "1", 1) == 0 && std::string(getenv("TCPD_TEST")) == "1";
    }));
}

BOOST_AUTO_TEST_CASE(users_and_groups_are_found_by_name) {
    Result<User> root = find_user("root");
    BOOST_REQUIRE(root);
    BOOST_TEST(root->uid == 0U);
    BOOST_TEST(root->groups.size() >= 1U);
    BOOST_TEST(*find_group("root") == 0U);
}

BOOST_AUTO_TEST_CASE(who_is_not_there_is_named) {
    Result<User> user = find_user("no\nsuch");
    BOOST_REQUIRE(!user);
    BOOST_TEST((user.error().code == ErrorCode::not_found));
    BOOST_TEST(user.error().text() == "could not find user \"no\\nsuch\": there is no such user");
    BOOST_TEST(find_group("nosuch").error().text() ==
               "could not find group \"nosuch\": there is no such group");
}

BOOST_AUTO_TEST_CASE(becoming_a_user_leaves_no_way_back, *boost::unit_test::precondition(is_root)) {
    BOOST_TEST(holds_in_child([] {
        if (!become_user(kNobody)) return false;
        std::string status = file_text("/proc/self/status");
        return has_line(status, "Uid:\t65534\t65534\t65534\t65534") &&
               has_line(status, "Gid:\t65534\t65534\t65534\t65534") &&
               has_line(status, "Groups:\t100 65534") && has_line(status, "CapEff:\t0000000000000000") &&
               has_line(status, "CapPrm:\t0000000000000000") &&
               has_line(status, "CapInh:\t0000000000000000") &&
               has_line(status, "CapAmb:\t0000000000000000") && setuid(0) != 0 && prctl(PR_GET_DUMPABLE) == 1;
    }));
}

BOOST_AUTO_TEST_CASE(root_keeps_its_name_but_no_capability, *boost::unit_test::precondition(is_root)) {
    BOOST_TEST(holds_in_child([] {
        return become_user(User{0, 0, {0}, "root"}) && getuid() == 0 &&
               has_line(file_text("/proc/self/status"), "CapPrm:\t0000000000000000");
    }));
}

BOOST_AUTO_TEST_CASE(without_privilege_only_the_same_user_can_be_become,
                     *boost::unit_test::precondition(is_root)) {
    BOOST_TEST(holds_in_child([] {
        if (!become_user(kNobody)) return false;
        Result<void> other = become_user(User{1, 1, {1}, "daemon"});
        return become_user(kNobody) && !other && other.error().code == ErrorCode::no_permission &&
               other.error().text() == "could not take the groups of user daemon: Operation not permitted";
    }));
}

BOOST_AUTO_TEST_CASE(the_descriptor_limit_goes_to_the_hard_one_and_no_further) {
    BOOST_TEST(holds_in_child([] {
        rlimit limit{100, 200};
        setrlimit(RLIMIT_NOFILE, &limit);
        Result<uint64_t> raised = raise_descriptor_limit();
        getrlimit(RLIMIT_NOFILE, &limit);
        return raised && *raised == 200 && limit.rlim_cur == 200;
    }));
    BOOST_TEST(holds_in_child([] {
        rlimit limit{100, 200};
        setrlimit(RLIMIT_NOFILE, &limit);
        Result<uint64_t> raised = raise_descriptor_limit(50);
        getrlimit(RLIMIT_NOFILE, &limit);
        return raised && *raised == 50 && limit.rlim_cur == 50 && limit.rlim_max == 200;
    }));
}

BOOST_AUTO_TEST_CASE(cpus_are_those_of_the_affinity) {
    BOOST_TEST(usable_cpus() >= 1U);
    BOOST_TEST(holds_in_child([] {
        cpu_set_t mine, one;
        CPU_ZERO(&one);
        sched_getaffinity(0, sizeof mine, &mine);
        int cpu = 0;
        while (!CPU_ISSET(cpu, &mine)) ++cpu;
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        return usable_cpus() == 1;
    }));
}

BOOST_AUTO_TEST_CASE(closed_standard_descriptors_are_settled) {
    BOOST_TEST(holds_in_child([] {
        int free_before = dup(0);
        close(free_before);
        close(0);
        close(1);
        if (!settle_standard_descriptors()) return false;
        return is_null(0) && is_null(1) && !is_null(2) && dup(0) == free_before;
    }));
    BOOST_TEST(holds_in_child([] {
        for (int fd : {0, 1, 2}) close(fd);
        return settle_standard_descriptors() && is_null(0) && is_null(1) && is_null(2) &&
               (fcntl(2, F_GETFD) & FD_CLOEXEC) == 0;
    }));
}

BOOST_AUTO_TEST_CASE(open_standard_descriptors_stay_but_for_the_input) {
    BOOST_TEST(holds_in_child([] {
        int pair[2];
        if (pipe(pair) != 0 || dup2(pair[1], 1) < 0 || dup2(pair[0], 0) < 0) return false;
        return settle_standard_descriptors() && is_null(0) && !is_null(1) && !is_null(2);
    }));
}

BOOST_AUTO_TEST_CASE(exits_are_told_in_words) {
    BOOST_TEST(describe_exit(CLD_EXITED, 3) == "exited with 3");
    BOOST_TEST(describe_exit(CLD_KILLED, SIGKILL) == "killed by SIGKILL");
    BOOST_TEST(describe_exit(CLD_DUMPED, SIGSEGV) == "killed by SIGSEGV, core dumped");
    BOOST_TEST(describe_exit(CLD_STOPPED, SIGSTOP) == "stopped by SIGSTOP");
    BOOST_TEST(describe_exit(CLD_CONTINUED, SIGCONT) == "continued");
    BOOST_TEST(describe_exit(99, 0) == "changed its state (code 99)");
    siginfo_t info = test::run_in_child([] { return kill(getpid(), SIGTERM); });
    BOOST_TEST(describe_exit(info.si_code, info.si_status) == "killed by SIGTERM");
}

BOOST_AUTO_TEST_CASE(signals_have_names) {
    BOOST_TEST(signal_name(SIGUSR2) == "SIGUSR2");
    BOOST_TEST(signal_name(SIGRTMIN) == "SIGRTMIN");
    BOOST_TEST(signal_name(SIGRTMIN + 1) == "SIGRTMIN+1");
    BOOST_TEST(signal_name(0) == "signal 0");
    BOOST_TEST(signal_name(4711) == "signal 4711");
}

BOOST_AUTO_TEST_CASE(a_capability_is_there_until_it_is_dropped, *boost::unit_test::precondition(is_root)) {
    BOOST_TEST(has_capability(CAP_NET_BIND_SERVICE));
    BOOST_TEST(
        test::holds_in_child([] { return drop_capabilities() && !has_capability(CAP_NET_BIND_SERVICE); }));
}

BOOST_AUTO_TEST_SUITE_END()
