// The control socket from outside: who is heard, who is not, and how long each request may take.

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "tests/support/blocking_client.h"
#include "tests/support/conditions.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kEcho = "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

UniqueFd connect_to_control(const TestDaemon& daemon) {
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const Result<Address> address = Address::parse("unix:" + (daemon.directory() / "tcpd.pid.ctl"), false);
    if (connect(fd.get(), address->get(), address->length()) != 0) throw Failed("connect");
    return fd;
}

Output ask(const TestDaemon& daemon, const std::vector<std::string>& words) {
    std::vector<std::string> line = {tested_program(), "-c", daemon.config_path()};
    line.insert(line.end(), words.begin(), words.end());
    return run(line);
}

void check_says(const Output& output, int exit, const std::string& text) {
    BOOST_CHECK_EQUAL(output.exit, exit);
    BOOST_CHECK_MESSAGE(output.err.find(text) != std::string::npos,
                        "no \"" << text << "\" in: " << output.err);
}

// SIGSTOP, and SIGCONT in any case.
struct Stopped {
    explicit Stopped(const TestDaemon& stopped) : daemon(stopped) { daemon.send(SIGSTOP); }
    ~Stopped() { daemon.send(SIGCONT); }
    const TestDaemon& daemon;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(control)

BOOST_AUTO_TEST_CASE(a_full_house_of_silent_ones_keeps_nobody_out) {
    TestDaemon daemon(kEcho);
    std::vector<UniqueFd> silent;
    for (int i = 0; i < 60; ++i) silent.push_back(connect_to_control(daemon));
    BOOST_CHECK_EQUAL(daemon.verb("status").exit, 0);
    BOOST_CHECK_EQUAL(daemon.verb("reload").exit, 0);
    BOOST_CHECK_EQUAL(daemon.verb("stop").exit, 0);
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(who_asks_nothing_is_let_go_with_a_word) {
    TestDaemon daemon(kEcho);
    const UniqueFd silent = connect_to_control(daemon);
    char reply[200] = {};
    BOOST_CHECK_GT(recv(silent.get(), reply, sizeof reply - 1, 0), 0);
    BOOST_CHECK_EQUAL(std::string(reply), "enothing was asked within 5s");
    BOOST_CHECK_EQUAL(recv(silent.get(), reply, sizeof reply, 0), 0);
}

BOOST_AUTO_TEST_CASE(a_child_of_the_master_orders_nothing) {
    const TempDir folder;
    const std::string program = folder / "tcpd";
    std::filesystem::copy_file(BAD_TCPD_BINARY, program);
    folder.write("mode", "check_orders_stop");
    TestDaemon daemon(DaemonOptions{.config = "pid_file: " + (folder / "tcpd.pid") + "\n" + kEcho,
                                    .environment = {"TCPD_BAD_FOLDER=" + folder.path()},
                                    .program = program});
    BOOST_CHECK_NE(daemon.verb("upgrade").exit, 0);
    const std::string answer = read_text(folder / "answer");
    BOOST_CHECK_MESSAGE(answer.find("it is a process below the master") != std::string::npos, answer);
    BOOST_CHECK_EQUAL(daemon.count_in_err("may ask tcpd nothing"), 1U);
    const std::string status = daemon.status().text();
    BOOST_CHECK(status.find("tcpd control_refused 1\n") != std::string::npos);
    BOOST_CHECK(status.find("tcpd state serving\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(other_users_are_told_whom_to_be, *boost::unit_test::precondition(is_root)) {
    TestDaemon daemon(kEcho);
    const std::vector<std::string> line = {"setpriv",
                                           "--reuid=65534",
                                           "--regid=65534",
                                           "--clear-groups",
                                           tested_program(),
                                           "-c",
                                           daemon.config_path(),
                                           "-s",
                                           "stop"};
    std::filesystem::permissions(daemon.config_path(), std::filesystem::perms(0600));
    check_says(run(line), 71, "ask as root");
    std::filesystem::permissions(daemon.directory().path(), std::filesystem::perms(0755));
    check_says(run(line), 71, "ask as root");
    std::filesystem::permissions(daemon.config_path(), std::filesystem::perms(0644));
    check_says(run(line), 71, "ask as root");
    // Where the socket's mode was opened by hand, the master looks who asks.
    std::filesystem::permissions(daemon.directory() / "tcpd.pid", std::filesystem::perms(0644));
    std::filesystem::permissions(daemon.directory() / "tcpd.pid.ctl", std::filesystem::perms(0666));
    check_says(run(line), 71, "neither root nor the user of the master");
    BOOST_CHECK_EQUAL(daemon.verb("status").exit, 0);
}

BOOST_AUTO_TEST_CASE(each_request_ends_in_the_time_that_it_names) {
    TestDaemon daemon(kEcho);
    {
        const Stopped stopped(daemon);
        for (const char* verb : {"status", "reopen", "reload", "upgrade", "drain", "stop"}) {
            check_says(ask(daemon, {"-s", verb, "--timeout", "30ms"}), 71,
                       std::string("no answer to \"") + verb + "\" in 30ms");
        }
    }
    // What nobody waits for any more is not done.
    BOOST_CHECK(daemon.status().text().find("tcpd state serving\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_stop_that_takes_longer_than_its_limit_goes_on) {
    TestDaemon daemon(kEcho);
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    // A limit may be over before anything was asked.
    wait_for("a stop that was begun", [&] {
        check_says(ask(daemon, {"-s", "stop", "--timeout", "50ms"}), 71, "what it has begun goes on");
        return daemon.count_in_err("draining:") > 0;
    });
    BOOST_CHECK(client.echoes("hello"));
    client.close();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(a_configuration_with_mistakes_has_its_own_exit_code) {
    TestDaemon daemon(kEcho);
    const std::string good = read_text(daemon.config_path());
    daemon.directory().write("tcpd.yaml", good + "no_such_key: 1\n");
    check_says(daemon.verb("reload"), 78, "no_such_key");
    check_says(daemon.verb("upgrade"), 78, "no_such_key");
    daemon.directory().write("tcpd.yaml", good);
    BOOST_CHECK_EQUAL(daemon.verb("reload").exit, 0);
}

BOOST_AUTO_TEST_CASE(processes_are_found_by_the_program_s_name) {
    TestDaemon daemon(kEcho);
    const Pids pids = daemon.pids(0);
    for (const pid_t pid : {daemon.master(), pids.worker, pids.standby}) {
        BOOST_CHECK_EQUAL(read_text("/proc/" + std::to_string(pid) + "/comm"), "tcpd\n");
    }
    BOOST_CHECK_EQUAL(title_of(pids.worker), "tcpd: worker 0");
}

BOOST_AUTO_TEST_CASE(the_master_counts_the_log_lines_that_it_lost) {
    TestDaemon daemon(
        DaemonOptions{.config = kEcho, .prefix = {"sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"}});
    const std::string status = daemon.status().text();
    const size_t at = status.find("tcpd dropped_log_lines ");
    BOOST_REQUIRE(at != std::string::npos);
    BOOST_CHECK_GT(std::stoi(status.substr(at + 23)), 0);
}

BOOST_AUTO_TEST_CASE(what_a_stop_at_once_ends_is_counted) {
    TestDaemon daemon(kEcho);
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    daemon.stop();
    BOOST_CHECK_EQUAL(daemon.count_in_err("slot 0 is drained, 1 connection was closed at the end"), 1U);
}

BOOST_AUTO_TEST_SUITE_END()
