// What tcpd made at its start and needs, and somebody took: the files of unix sockets, the pid file, the control socket.

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
namespace fs = std::filesystem;

namespace {

std::string config(const std::string& path) {
    return "workers: 2\nlisteners: {it: {listen: ['unix:" + path +
           "', 127.0.0.1:0], unix: {mode: \"0606\"}, handler: echo}}\n";
}

Address address_of(const std::string& path) { return *Address::parse("unix:" + path, false); }

unsigned mode_of(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0U;
}

// By a signal: where the file is gone by which -s finds it. Returns once the change is over.
void hang_up(const TestDaemon& daemon) {
    const size_t before = daemon.count_in_err("the new configuration is in force");
    daemon.send(SIGHUP);
    wait_for("the reload", [&] { return daemon.count_in_err("the new configuration is in force") > before; });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(made_anew)

BOOST_AUTO_TEST_CASE(a_socket_s_file_by_a_reload_and_by_an_upgrade) {
    const TempDir folder;
    const std::string path = folder / "s";
    TestDaemon daemon(config(path));
    BlockingClient old(address_of(path));
    for (const char* verb : {"reload", "upgrade"}) {
        BlockingClient queued(address_of(path));
        fs::remove(path);
        BOOST_TEST(!can_connect(address_of(path)));
        BOOST_TEST(daemon.verb(verb).exit == 0, verb);
        BOOST_TEST(BlockingClient(address_of(path)).echoes("new"), verb);
        BOOST_TEST(mode_of(path) == 0606U);
        BOOST_TEST(old.echoes("old"));
        BOOST_TEST(queued.echoes("queued"));
    }
    BOOST_TEST(daemon.count_in_err("no longer leads to the socket of listener \"it\": it is bound anew") ==
               2U);
    daemon.kill_worker(0);
    BOOST_TEST(BlockingClient(address_of(path)).echoes("after a death"));
    daemon.check_nothing_lost();
    daemon.stop();
    BOOST_TEST(!fs::exists(path));
}

// Success is said only where clients find the listener.
BOOST_AUTO_TEST_CASE(a_file_that_is_in_the_way_is_said_and_all_else_goes_on) {
    const TempDir folder;
    const std::string path = folder / "s";
    TestDaemon daemon(config(path));
    BlockingClient old(address_of(path));
    fs::remove(path);
    std::ofstream(path) << "precious";
    for (const char* verb : {"reload", "upgrade"}) {
        const Output output = daemon.verb(verb);
        BOOST_TEST(output.exit != 0, verb);
        BOOST_TEST(output.err.find(path) != std::string::npos, output.err);
        BOOST_TEST(output.err.find("no socket") != std::string::npos, output.err);
    }
    BOOST_TEST(fs::file_size(path) == 8U);
    BOOST_TEST(old.echoes("old"));
    BOOST_TEST(BlockingClient(daemon.address("it", 1)).echoes("by TCP"));
    fs::remove(path);
    BOOST_TEST(daemon.verb("reload").exit == 0);
    BOOST_TEST(BlockingClient(address_of(path)).echoes("new"));
}

BOOST_AUTO_TEST_CASE(the_pid_file_and_with_it_the_lock) {
    const TempDir folder;
    const std::string path = folder / "pid";
    const std::string text = "pid_file: " + path + "\n" + config(folder / "s");
    TestDaemon daemon(text);
    const std::string second = folder.write("second.yaml", text);
    const auto check = [&](const std::string& what) {
        BOOST_TEST(daemon.verb("status").exit == 0, what);
        const Output output = run({tested_program(), "-c", second});
        BOOST_TEST(output.exit == 71, what);
        BOOST_TEST(output.err.find("another tcpd holds it, pid " + std::to_string(daemon.master())) !=
                       std::string::npos,
                   output.err);
        BOOST_TEST(read_text(path) == std::to_string(daemon.master()) + "\n");
    };
    fs::remove(path);
    const Output lost = daemon.verb("status");
    BOOST_TEST(lost.exit == 69);
    BOOST_TEST(lost.err.find("kill -HUP") != std::string::npos, lost.err);
    hang_up(daemon);
    check("removed");
    fs::remove(path);
    std::ofstream(path) << "1\n";
    hang_up(daemon);
    check("another's");
    BOOST_TEST(daemon.verb("upgrade").exit == 0);
    check("upgraded");
    BOOST_TEST(daemon.count_in_err("it is made and locked anew") == 2U);
    daemon.stop();
    BOOST_TEST(!fs::exists(path));
}

BOOST_AUTO_TEST_CASE(the_control_socket) {
    const TempDir folder;
    const std::string path = folder / "pid";
    TestDaemon daemon("pid_file: " + path + "\n" + config(folder / "s"));
    fs::remove(path + ".ctl");
    const Output lost = daemon.verb("status");
    BOOST_TEST(lost.exit == 69);
    BOOST_TEST(lost.err.find("kill -HUP " + std::to_string(daemon.master())) != std::string::npos, lost.err);
    hang_up(daemon);
    BOOST_TEST(daemon.verb("status").exit == 0);
    BOOST_TEST(mode_of(path + ".ctl") == 0600U);
    BOOST_TEST(daemon.count_in_err("it is bound anew") == 1U);
    BOOST_TEST(daemon.verb("upgrade").exit == 0);
    BOOST_TEST(daemon.verb("reload").exit == 0);
    BOOST_TEST(daemon.count_in_err("it is bound anew") == 1U);
}

BOOST_AUTO_TEST_CASE(the_log) {
    TestDaemon daemon("log: {output: $DIR/log}\n" + config("$DIR/s"));
    const std::string path = daemon.directory() / "log";
    fs::remove(path);
    BOOST_TEST(daemon.verb("reload").exit == 0);
    BOOST_TEST(read_text(path).find("the new configuration is in force") != std::string::npos);
    daemon.kill_worker(0);
    wait_for("a worker's line", [&] { return read_text(path).find("took the seat") != std::string::npos; });
    const std::string before = read_text(path);
    BOOST_TEST(daemon.verb("reload").exit == 0);
    BOOST_TEST(read_text(path).starts_with(before));
}

BOOST_AUTO_TEST_CASE(what_can_not_be_is_said_and_the_old_one_kept) {
    const TempDir folder;
    const std::string path = folder / "pid";
    TestDaemon daemon("pid_file: " + path + "\n" + config(folder / "s"));
    const std::string away = folder / "away";
    fs::rename(path, away);
    BOOST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    hang_up(daemon);
    BOOST_TEST(daemon.count_in_err("can't be made anew") == 1U);
    fs::rename(away, path);
    BOOST_TEST(daemon.verb("status").exit == 0);
}

BOOST_AUTO_TEST_SUITE_END()
