// What is logged about connections, as text and json, to stderr or a file that is reopened, and onto a full
// disk.

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "daemon/slot/control_message.h"
#include "tests/support/blocking_client.h"
#include "tests/support/conditions.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string config(const std::string& log) {
    return "workers: 1\nlog: " + log + "\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";
}

void one_connection(const TestDaemon& daemon) {
    const uint64_t before = daemon.count("echo", "closed finished");
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    client.end_output();
    client.wait_end();
    wait_for("its end", [&] { return daemon.count("echo", "closed finished") == before + 1; });
}

size_t lines_with(const std::string& path, const std::string& text) {
    size_t count = 0;
    for (const std::string& line : lines_of(read_text(path))) count += line.find(text) != std::string::npos;
    return count;
}

// A tmpfs of 16 KiB; gone with the object.
struct SmallDisk {
    SmallDisk() {
        if (mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=16k") != 0)
            throw Failed("mount failed");
    }
    ~SmallDisk() { umount2(directory.path().c_str(), MNT_DETACH); }
    TempDir directory;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(log_lines)

BOOST_AUTO_TEST_CASE(one_line_a_closed_connection) {
    TestDaemon daemon(config("{level: info}"));
    for (int i = 0; i < 3; ++i) one_connection(daemon);
    const std::string path = daemon.directory() / "stderr";
    wait_for("three lines", [&] { return lines_with(path, "reason=finished") == 3; });
    for (const std::string& line : lines_of(read_text(path))) {
        if (line.find("reason=finished") == std::string::npos) continue;
        for (const char* text : {"conn=", "listener=echo", "peer=127.0.0.1:", " info "}) {
            BOOST_CHECK_MESSAGE(line.find(text) != std::string::npos, "no " << text << " in: " << line);
        }
        BOOST_CHECK_MESSAGE(line.find("=5") != std::string::npos, "no 5 bytes each way in: " << line);
    }
}

BOOST_AUTO_TEST_CASE(lines_outlive_their_worker) {
    TestDaemon daemon(config("{level: info}"));
    const std::string path = daemon.directory() / "stderr";
    for (int i = 0; i < 20; ++i) {
        BlockingClient client(daemon.address("echo"));
        BOOST_CHECK(client.echoes("hello"));
        client.end_output();
        client.wait_end();
        daemon.kill_worker(0);
    }
    wait_for("a line each", [&] { return lines_with(path, "reason=") == 20; });
}

BOOST_AUTO_TEST_CASE(json_is_an_object_a_line) {
    TestDaemon daemon(config("{level: info, format: json, output: $DIR/tcpd.log}"));
    one_connection(daemon);
    const std::string path = daemon.directory() / "tcpd.log";
    wait_for("its line", [&] { return lines_with(path, "finished") == 1; });
    daemon.stop();  // nobody writes any more
    for (const std::string& line : lines_of(read_text(path))) {
        BOOST_CHECK_MESSAGE(line.starts_with("{") && line.ends_with("}"), line);
    }
    if (access("/usr/bin/python3", X_OK) != 0) return;
    const Output parsed =
        run({"python3", "-c", "import json,sys\nfor l in open(sys.argv[1]): json.loads(l)", path});
    BOOST_CHECK_MESSAGE(parsed.exit == 0, parsed.err);
}

BOOST_AUTO_TEST_CASE(a_level_leaves_lines_out) {
    TestDaemon daemon(config("{level: error}"));
    one_connection(daemon);
    BOOST_CHECK_EQUAL(daemon.count_in_err("reason="), 0U);
    BOOST_CHECK_EQUAL(daemon.count_in_err(" info "), 0U);
}

BOOST_AUTO_TEST_CASE(usr1_reopens_the_file_for_every_process) {
    TestDaemon daemon(config("{level: info, output: $DIR/tcpd.log}"));
    const std::string path = daemon.directory() / "tcpd.log", old = daemon.directory() / "tcpd.log.1";
    one_connection(daemon);
    wait_for("its line", [&] { return lines_with(path, "reason=finished") == 1; });
    BOOST_REQUIRE(std::rename(path.c_str(), old.c_str()) == 0);
    daemon.send(SIGUSR1);
    wait_for("the new file", [&] { return access(path.c_str(), F_OK) == 0; });
    wait_for("a line in it", [&] { return !read_text(path).empty(); });
    wait_for("the slot to have it", [&] {
        const pid_t worker = daemon.pids(0).worker;
        const std::string log = "/proc/" + std::to_string(worker) + "/fd/" + std::to_string(slot::kLogFd);
        std::error_code none;
        return std::filesystem::read_symlink(log, none) == path;
    });
    one_connection(daemon);
    wait_for("the next line", [&] { return lines_with(path, "reason=finished") == 1; });
    daemon.kill_worker(0);
    one_connection(daemon);
    wait_for("a successor's line", [&] { return lines_with(path, "reason=finished") == 2; });
    BOOST_CHECK_EQUAL(lines_with(old, "reason=finished"), 1U);
}

BOOST_AUTO_TEST_CASE(who_asks_for_it_hears_why_it_failed) {
    TestDaemon daemon(config("{level: info, output: $DIR/tcpd.log}"));
    const std::string path = daemon.directory() / "tcpd.log", old = daemon.directory() / "tcpd.log.1";
    BOOST_REQUIRE(std::rename(path.c_str(), old.c_str()) == 0);
    BOOST_REQUIRE(mkdir(path.c_str(), 0700) == 0);
    const Output output = daemon.verb("reopen");
    BOOST_CHECK_EQUAL(output.exit, 71);
    BOOST_CHECK_MESSAGE(output.err.find(path) != std::string::npos, output.err);
    BOOST_CHECK_MESSAGE(output.err.find("Is a directory") != std::string::npos, output.err);
    one_connection(daemon);
    wait_for("its line in the old file", [&] { return lines_with(old, "reason=finished") == 1; });
}

BOOST_AUTO_TEST_CASE(a_full_disk_loses_lines_and_nothing_else, *boost::unit_test::precondition(is_root)) {
    const SmallDisk disk;
    TestDaemon daemon(config("{level: info, output: " + (disk.directory / "tcpd.log") + "}"));
    for (int i = 0; i < 150; ++i) {
        BlockingClient client(daemon.address("echo"));
        BOOST_REQUIRE(client.echoes("hello"));
    }
    daemon.kill_worker(0);
    one_connection(daemon);
    // Room again: it says how many were dropped.
    BOOST_REQUIRE(truncate((disk.directory / "tcpd.log").c_str(), 0) == 0);
    one_connection(daemon);
    wait_for("a word about it", [&] { return lines_with(disk.directory / "tcpd.log", "drop") > 0; });
    BOOST_CHECK(daemon.status().text().find("slot 0 dropped_log_lines 0\n") == std::string::npos);
    daemon.stop();
}

BOOST_AUTO_TEST_SUITE_END()
