// The start: exit codes, what a failure says, one instance a pid file, and life as an ordinary user.

#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/conditions.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kEcho = "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

Output run_tcpd(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), tested_program());
    return run(arguments);
}

void check_says(const Output& output, int exit, const std::string& text) {
    BOOST_CHECK_EQUAL(output.exit, exit);
    BOOST_CHECK_MESSAGE(output.err.find(text) != std::string::npos,
                        "no \"" << text << "\" in: " << output.err);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(start)

BOOST_AUTO_TEST_CASE(says_what_it_does) {
    TestDaemon daemon(kEcho);
    for (const char* text : {"listening on", "127.0.0.1:", "ready in", "tcpd.yaml"}) {
        BOOST_CHECK_MESSAGE(daemon.count_in_err(text) >= 1, "it did not say " << text);
    }
    BOOST_CHECK_EQUAL(std::stoi(read_text(daemon.directory() / "tcpd.pid")), daemon.master());
    BOOST_CHECK_EQUAL(title_of(daemon.master()).substr(0, 12), "tcpd: master");
    BOOST_CHECK_EQUAL(sockets_in_state(daemon.address("echo"), kListening), 1U);
}

BOOST_AUTO_TEST_CASE(a_slot_has_one_listening_socket) {
    TestDaemon daemon("workers: 3\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    BOOST_CHECK_EQUAL(sockets_in_state(daemon.address("echo"), kListening), 3U);
}

BOOST_AUTO_TEST_CASE(exit_codes) {
    const TempDir directory;
    check_says(run_tcpd({"--no-such-flag"}), 64, "no-such-flag");
    check_says(run_tcpd({"-c", directory / "missing.yaml"}), 78, "missing.yaml");
    const std::string bad =
        directory.write("bad.yaml", "listeners: {echo: {listen: 127.0.0.1:0, handler: ekho}}\n");
    check_says(run_tcpd({"-c", bad}), 78, "listeners.echo.handler");
    check_says(run_tcpd({"-t", "-c", bad}), 78, "listeners.echo.handler");
    const std::string good = directory.write("good.yaml", kEcho);
    BOOST_CHECK_EQUAL(run_tcpd({"-t", "-c", good}).exit, 0);
    check_says(run_tcpd({"-c", good, "-s", "status"}), 64, "pid_file");
    const std::string named = directory.write("named.yaml", "pid_file: none.pid\n" + std::string(kEcho));
    BOOST_CHECK_EQUAL(run_tcpd({"-c", named, "-s", "status"}).exit, 69);
    BOOST_CHECK_EQUAL(run_tcpd({"-c", named, "-s", "stop"}).exit, 69);
}

BOOST_AUTO_TEST_CASE(the_full_config_passes_the_check) {
    const TempDir directory;
    const std::string good = directory.write("good.yaml", kEcho);
    const Output full = run_tcpd({"-T", "-c", good});
    BOOST_CHECK_EQUAL(full.exit, 0);
    const std::string copy = directory.write("full.yaml", full.out);
    const Output again = run_tcpd({"-T", "-c", copy});
    BOOST_CHECK_EQUAL(again.exit, 0);
    // The first line is a comment that names the file.
    BOOST_CHECK_EQUAL(again.out.substr(again.out.find('\n')), full.out.substr(full.out.find('\n')));
}

BOOST_AUTO_TEST_CASE(a_port_in_use_is_named_with_its_holder) {
    const FakeUpstream holder;  // this process
    const TempDir directory;
    const std::string path = directory.write(
        "tcpd.yaml", "workers: 1\nlisteners: {gate: {listen: '" + holder.text() + "', handler: echo}}\n");
    const Output output = run_tcpd({"-c", path});
    check_says(output, 71,
               "could not bind listener \"gate\" to " + holder.text() + ": Address already in use");
    check_says(output, 71, "pid " + std::to_string(getpid()));
    check_says(output, 71, "listeners.gate.listen");
}

BOOST_AUTO_TEST_CASE(a_second_tcpd_takes_no_share_of_the_first_ones_clients) {
    TestDaemon daemon(kEcho);
    const TempDir directory;
    const std::string path =
        directory.write("tcpd.yaml", "workers: 1\nlisteners: {echo: {listen: '" +
                                         daemon.address("echo").text() + "', handler: discard}}\n");
    check_says(run_tcpd({"-c", path}), 71, "Address already in use");
    for (int i = 0; i < 20; ++i) BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(a_second_instance_is_refused) {
    TestDaemon daemon(kEcho);
    const Output output = run_tcpd({"-c", daemon.config_path()});
    BOOST_CHECK(output.exit == 69 || output.exit == 71);
    BOOST_CHECK_MESSAGE(output.err.find("tcpd.pid") != std::string::npos, output.err);
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
    BOOST_CHECK_EQUAL(daemon.verb("status").exit, 0);
    BOOST_CHECK_EQUAL(std::stoi(read_text(daemon.directory() / "tcpd.pid")), daemon.master());
}

BOOST_AUTO_TEST_CASE(a_stale_pid_file_is_replaced_and_its_pid_left_alone) {
    const TempDir directory;
    const std::string pid_file = directory.write("old.pid", std::to_string(getpid()) + "\n");
    TestDaemon daemon("pid_file: " + pid_file + "\n" + kEcho);
    BOOST_CHECK_EQUAL(std::stoi(read_text(pid_file)), daemon.master());
    daemon.stop();
    BOOST_CHECK(access(pid_file.c_str(), F_OK) != 0);
}

BOOST_AUTO_TEST_CASE(ready_is_told_to_the_service_manager) {
    const TempDir directory;
    const UniqueFd manager(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const Result<Address> address = Address::parse("unix:" + (directory / "notify"), false);
    BOOST_REQUIRE(bind(manager.get(), address->get(), address->length()) == 0);
    TestDaemon daemon(
        DaemonOptions{.config = kEcho, .environment = {"NOTIFY_SOCKET=" + (directory / "notify")}});
    std::string message(4096, '\0');
    const ssize_t got = recv(manager.get(), message.data(), message.size(), 0);
    BOOST_REQUIRE_GT(got, 0);
    BOOST_CHECK(message.find("READY=1") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_ordinary_user_can_run_it, *boost::unit_test::precondition(is_root)) {
    const TempDir directory;
    BOOST_REQUIRE(chown(directory.path().c_str(), 65534, 65534) == 0);
    TestDaemon daemon(
        DaemonOptions{.config = "pid_file: " + (directory / "own.pid") + "\n" + kEcho,
                      .prefix = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}});
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    daemon.kill_worker(0);
    BOOST_CHECK(client.echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(slots_run_as_user, *boost::unit_test::precondition(is_root)) {
    TestDaemon daemon("user: nobody\n" + std::string(kEcho));
    daemon.kill_worker(0);
    const Pids pids = daemon.pids(0);
    for (const pid_t pid : {pids.worker, pids.standby}) {
        const std::string status = read_text("/proc/" + std::to_string(pid) + "/status");
        BOOST_CHECK(status.find("Uid:\t65534\t65534\t65534\t65534") != std::string::npos);
        BOOST_CHECK(status.find("CapEff:\t0000000000000000") != std::string::npos);
        BOOST_CHECK(status.find("CapPrm:\t0000000000000000") != std::string::npos);
        BOOST_CHECK(status.find("NoNewPrivs:\t1") != std::string::npos);
    }
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(ordinary_users_cannot_become_another, *boost::unit_test::precondition(is_root)) {
    const TempDir directory;
    const std::string path = directory.write("tcpd.yaml", "user: daemon\n" + std::string(kEcho));
    const Output output =
        run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", tested_program(), "-c", path});
    BOOST_CHECK_NE(output.exit, 0);
    BOOST_CHECK_MESSAGE(output.err.find("daemon") != std::string::npos, output.err);
}

// It floats between two machines, or its interface comes up late.
BOOST_AUTO_TEST_CASE(an_address_that_is_not_there_yet_is_listened_on) {
    const std::string absent = "listeners: {late: {listen: 192.0.2.77:0, handler: echo";
    const std::string with_freebind = absent + ", freebind: true}}\n";
    TestDaemon refused(DaemonOptions{.config = absent + "}}\n", .wait_ready = false});
    refused.expect_any_exit();
    BOOST_CHECK_EQUAL(refused.wait_exit(), 71);
    BOOST_CHECK_EQUAL(refused.count_in_err("set listeners.late.freebind: true"), 1U);
    TestDaemon daemon("workers: 2\n" + with_freebind);
    const Address address = daemon.address("late");
    std::ofstream(daemon.config_path())
        << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\nworkers: 3\n"
        << with_freebind;
    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
    daemon.wait_complete(3);
    BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
    BOOST_CHECK_EQUAL(daemon.address("late").text(), address.text());
}

BOOST_AUTO_TEST_SUITE_END()
