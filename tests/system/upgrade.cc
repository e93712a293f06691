// SIGUSR2 and `-s upgrade`: another program serves, in the same process and with the same connections;
// whatever is wrong with it, the one before goes on.

#include <sys/stat.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* kConfig = "workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

// A daemon that runs from a file of its own, which can be replaced.
struct Installed {
    TempDir folder;
    std::string path = folder / "tcpd";
    std::unique_ptr<TestDaemon> daemon;

    explicit Installed(const std::string& config = kConfig) {
        install(tested_program());
        daemon = std::make_unique<TestDaemon>(DaemonOptions{
            .config = config, .environment = {"TCPD_BAD_FOLDER=" + (folder / ".")}, .program = path});
    }
    // As a package manager does: a new file takes the place of the old one.
    void install(const std::string& from) const {
        fs::copy_file(from, path + ".new", fs::copy_options::overwrite_existing);
        fs::rename(path + ".new", path);
    }
    void install_text(const std::string& text, fs::perms rights) const {
        std::ofstream(path + ".new") << text;
        fs::permissions(path + ".new", rights);
        fs::rename(path + ".new", path);
    }
    void install_bad(const std::string& mode) const {
        std::ofstream(folder / "mode") << mode;
        fs::remove(folder / "probes");
        fs::remove(folder / "fail_now");
        install(BAD_TCPD_BINARY);
    }
    // How often the bad one was asked to try a take-over.
    int probes() const {
        int count = 0;
        std::ifstream(folder / "probes") >> count;
        return count;
    }
    // What it waits for in a mode that ends so.
    void let_it_fail() const { std::ofstream(folder / "fail_now"); }
    // Whether a process runs the file that is installed now.
    bool runs_new(pid_t pid) const {
        struct stat now {
        }, running{};
        if (stat(path.c_str(), &now) != 0) return false;
        if (stat(("/proc/" + std::to_string(pid) + "/exe").c_str(), &running) != 0) return false;
        return now.st_ino == running.st_ino && now.st_dev == running.st_dev;
    }
};

std::vector<pid_t> workers(const TestDaemon& daemon) {
    std::vector<pid_t> list;
    const Status status = daemon.status();
    for (const SlotStatus& slot : status.slots()) list.push_back(slot.worker);
    return list;
}

// The upgrade is refused with these words, and nothing has changed.
void check_refused(const Installed& installed, const std::string& expected) {
    const TestDaemon& daemon = *installed.daemon;
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("before"));
    const auto before = workers(daemon);
    const Output output = daemon.verb("upgrade");
    BOOST_CHECK_NE(output.exit, 0);
    BOOST_CHECK_MESSAGE(output.err.find(expected) != std::string::npos, output.err);
    BOOST_CHECK(client.echoes("after"));
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("a new one"));
    BOOST_CHECK(workers(daemon) == before);
    daemon.wait_complete(2);
    daemon.check_nothing_lost();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(upgrade)

BOOST_AUTO_TEST_CASE(streams_go_on_through_many) {
    Installed installed;
    TestDaemon& daemon = *installed.daemon;
    const pid_t master = daemon.status().slots().empty() ? 0 : daemon.master();
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 16'384, .piece = 3000}, 40);
    peer.open(daemon.address("echo"), Plan{.up_bytes = 5000, .repeats = true}, 10);
    for (size_t i = 1; i <= 10; ++i) {
        installed.install(tested_program());
        daemon.send(SIGUSR2);
        peer.run_until("the new master", [&] { return daemon.count_in_err("goes on in the place of") == i; });
        BOOST_CHECK(installed.runs_new(master));
        for (const pid_t worker : workers(daemon)) BOOST_CHECK(installed.runs_new(worker));
        peer.run_bytes(200'000);
    }
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    daemon.wait_complete(2);
    BOOST_CHECK_GE(daemon.count("echo", "adopted upgrade"), 400U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(who_asked_hears_of_it_from_the_new_program) {
    Installed installed;
    for (int i = 0; i < 3; ++i) {
        const Output output = installed.daemon->verb("upgrade");
        BOOST_CHECK_MESSAGE(output.exit == 0, output.err);
        BOOST_CHECK_MESSAGE(output.out.find("upgraded to tcpd ") != std::string::npos, output.out);
    }
    const Output reloaded = installed.daemon->verb("reload");
    BOOST_CHECK_MESSAGE(reloaded.exit == 0, reloaded.err);
    installed.daemon->check_nothing_lost();
}

// It waits for no look at a set time, which comes each second. The quickest of them is one that no load of the
// machine held up.
BOOST_AUTO_TEST_CASE(it_goes_on_as_soon_as_it_can) {
    Installed installed;
    auto quickest = SteadyClock::duration::max();
    for (int i = 0; i < 5; ++i) {
        const auto begin = SteadyClock::now();
        BOOST_CHECK_EQUAL(installed.daemon->verb("upgrade").exit, 0);
        quickest = std::min(quickest, SteadyClock::now() - begin);
    }
    BOOST_TEST_MESSAGE("quickest: " << quickest / 1ms << " ms");
    BOOST_CHECK_LT(quickest / 1ms, 800);
}

BOOST_AUTO_TEST_CASE(nothing_stays_behind) {
    Installed installed;
    TestDaemon& daemon = *installed.daemon;
    const auto open_files = [&] {
        size_t count = 0;
        for ([[maybe_unused]] const auto& entry :
             fs::directory_iterator("/proc/" + std::to_string(daemon.master()) + "/fd"))
            ++count;
        return count;
    };
    for (int i = 0; i < 3; ++i) BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
    wait_for("the old ones to be gone", [&] { return daemon.processes().size() == 5; });
    const size_t files = open_files(), slots = daemon.descriptors(0) + daemon.descriptors(1);
    for (int i = 0; i < 5; ++i) BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
    wait_for("the old ones to be gone", [&] { return daemon.processes().size() == 5; });
    // Either count may hold the request's own socket for a moment more; five upgrades would leave five.
    wait_for("no more files than before", [&] { return open_files() <= files; });
    wait_for("no more descriptors than before",
             [&] { return daemon.descriptors(0) + daemon.descriptors(1) <= slots; });
}

BOOST_AUTO_TEST_CASE(supervision_goes_on) {
    Installed installed;
    TestDaemon& daemon = *installed.daemon;
    BlockingClient client(daemon.address("echo"));
    BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
    for (unsigned slot = 0; slot < 2; ++slot) {
        daemon.kill_worker(slot);
        const Pids pids = daemon.pids(slot);
        kill(pids.standby, SIGKILL);
        wait_for("a new pair",
                 [&] { return daemon.pids(slot).both() && daemon.pids(slot).worker != pids.worker; });
    }
    BOOST_CHECK(client.echoes("still here"));
    daemon.wait_complete(2);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(signals_of_that_moment_are_not_lost_and_end_nobody) {
    Installed installed;
    TestDaemon& daemon = *installed.daemon;
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 16'384, .piece = 3000}, 20);
    daemon.send(SIGUSR2);
    for (int i = 0; i < 400; ++i) {
        daemon.send(i % 3 == 0 ? SIGUSR2 : i % 3 == 1 ? SIGHUP : SIGUSR1);
        peer.step(1ms);
    }
    peer.run_bytes(500'000);
    BOOST_CHECK(!daemon.has_ended());
    const Output output = daemon.verb("upgrade");
    BOOST_CHECK_MESSAGE(output.exit == 0, output.err);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(daemon.count_in_err("failed"), 0U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_program_that_is_missing) {
    Installed installed;
    fs::remove(installed.path);
    const Output output = run({tested_program(), "-c", installed.daemon->config_path(), "-s", "upgrade"});
    BOOST_CHECK_NE(output.exit, 0);
    BOOST_CHECK_MESSAGE(output.err.find("No such file") != std::string::npos, output.err);
    BOOST_CHECK(BlockingClient(installed.daemon->address("echo")).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(a_file_that_may_not_be_executed) {
    Installed installed;
    installed.install_text("rubbish", fs::perms::owner_read);
    check_refused(installed, "Permission denied");
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_program) {
    Installed installed;
    installed.install_text("rubbish\n", fs::perms::owner_all);
    check_refused(installed, "Exec format error");
}

// Which would be waited for.
BOOST_AUTO_TEST_CASE(a_fifo) {
    Installed installed;
    BOOST_REQUIRE(mkfifo((installed.path + ".new").c_str(), 0700) == 0);
    fs::rename(installed.path + ".new", installed.path);
    check_refused(installed, "it is no regular file");
}

BOOST_AUTO_TEST_CASE(another_program) {
    Installed installed;
    installed.install("/bin/true");
    check_refused(installed, "it names none");
}

BOOST_AUTO_TEST_CASE(programs_that_fail_on_the_way) {
    Installed installed;
    const std::pair<const char*, const char*> wrong[] = {
        {"other_formats", "slot 99"},
        {"older_level",
         "it knows levels of slot memory up to 0, and \"the first layout\" (level 1) is in use"},
        {"large_parts", "its parts of slot memory do not fit"},
        {"version_segfaults", "SIGSEGV"},
        {"check_exits", "exited with 3"},
        {"check_aborts", "SIGABRT"},
        {"probe_exits", "exited with 3"},
        {"probe_segfaults", "SIGSEGV"},
        {"image_exits", "exited with 3"},
        {"image_aborts", "SIGABRT"},
        {"image_segfaults", "SIGSEGV"}};
    for (const auto& [mode, expected] : wrong) {
        BOOST_TEST_CONTEXT(mode) {
            installed.install_bad(mode);
            check_refused(installed, expected);
        }
    }
    installed.install(tested_program());
    BOOST_CHECK_EQUAL(installed.daemon->verb("upgrade").exit, 0);
}

BOOST_AUTO_TEST_CASE(a_program_that_hangs) {
    Installed installed;
    installed.install_bad("version_hangs");
    check_refused(installed, "did not end within 5 s");
}

BOOST_AUTO_TEST_CASE(while_it_hangs_the_master_does_all_else) {
    Installed installed;
    const TestDaemon& daemon = *installed.daemon;
    daemon.wait_complete(2);
    installed.install_bad("version_hangs");
    ChildProcess asker(Start{.argv = {tested_program(), "-c", daemon.config_path(), "-s", "upgrade"}});
    wait_for("the upgrade to begin", [&] { return daemon.count_in_err("upgrading to ") == 1; });
    const auto image = daemon.status().slots().at(1).image;
    kill(daemon.pids(1).standby, SIGKILL);
    wait_for("a new pair in the place of a lost standby", [&] {
        const Status now = daemon.status();
        return now.slots().at(1).image > image && now.slots().at(1).standby != 0;
    });
    BOOST_CHECK(!asker.poll_exit().has_value());
    BOOST_CHECK_EQUAL(asker.wait_exit(), 71);
}

BOOST_AUTO_TEST_CASE(a_stop_does_not_wait_for_it) {
    Installed installed;
    TestDaemon& daemon = *installed.daemon;
    installed.install_bad("version_hangs");
    ChildProcess asker(Start{.argv = {tested_program(), "-c", daemon.config_path(), "-s", "upgrade"}});
    wait_for("the upgrade to begin", [&] { return daemon.count_in_err("upgrading to ") == 1; });
    daemon.send(SIGTERM);
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
    BOOST_CHECK_EQUAL(daemon.count_in_err("the old program goes on: tcpd is about to stop"), 1U);
    BOOST_CHECK_EQUAL(asker.wait_exit(), 71);
}

BOOST_AUTO_TEST_CASE(a_configuration_that_is_wrong_by_now) {
    Installed installed;
    std::ofstream(installed.daemon->config_path(), std::ios::app) << "rubbish: 1\n";
    const Output output = installed.daemon->verb("upgrade");
    BOOST_CHECK_NE(output.exit, 0);
    BOOST_CHECK_MESSAGE(output.err.find("rubbish") != std::string::npos, output.err);
    BOOST_CHECK(BlockingClient(installed.daemon->address("echo")).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(slots_go_back_when_the_master_can_not_follow) {
    Installed installed;
    TestDaemon& daemon = *installed.daemon;
    BlockingClient client(daemon.address("echo"));
    installed.install_bad("second_probe_exits");
    const Output output = daemon.verb("upgrade");
    BOOST_CHECK_NE(output.exit, 0);
    BOOST_CHECK_MESSAGE(output.err.find("exited with 3") != std::string::npos, output.err);
    BOOST_CHECK(client.echoes("still here"));
    // From now on an image of the new program would fail.
    std::ofstream(installed.folder / "mode") << "image_exits";
    const pid_t lost = daemon.pids(0).standby;
    kill(lost, SIGKILL);
    wait_for("a pair of the program before",
             [&] { return daemon.pids(0).both() && daemon.pids(0).standby != lost; });
    BOOST_CHECK_EQUAL(daemon.count_in_err("does not come into service"), 0U);
    installed.install(tested_program());
    BOOST_CHECK_EQUAL(daemon.verb("upgrade").exit, 0);
    BOOST_CHECK(client.echoes("still here"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(what_the_configuration_says_on_the_way_back_is_in_force) {
    Installed installed;
    const TestDaemon& daemon = *installed.daemon;
    installed.install_bad("second_probe_waits");
    ChildProcess asker(Start{.argv = {tested_program(), "-c", daemon.config_path(), "-s", "upgrade"}});
    wait_for("the second probe", [&] { return installed.probes() == 2; });
    std::ofstream(daemon.config_path(), std::ios::app) << "log: {format: json}\n";
    installed.let_it_fail();
    BOOST_CHECK_EQUAL(asker.wait_exit(), 71);
    BOOST_CHECK_EQUAL(daemon.count_in_err("\"message\":\"the upgrade failed, the old program goes on"), 1U);
}

// Why they go back is told once, and is not what becomes of the next change.
BOOST_AUTO_TEST_CASE(a_rest_may_come_between_the_slots_and_their_way_back) {
    Installed installed;
    TestDaemon& daemon = *installed.daemon;
    std::vector<BlockingClient> clients;
    for (int i = 0; i < 2; ++i) clients.emplace_back(daemon.address("echo"));
    installed.install_bad("second_probe_waits");
    ChildProcess asker(Start{.argv = {tested_program(), "-c", daemon.config_path(), "-s", "upgrade"}});
    wait_for("the second probe", [&] { return installed.probes() == 2; });
    // A renewal that gets nowhere: the way back has to wait for it.
    std::ofstream(installed.folder / "mode") << "image_hangs";
    kill(daemon.pids(0).standby, SIGKILL);
    wait_for("a renewal", [&] { return daemon.count_in_err("slot 0 is without a standby") == 1; });
    installed.let_it_fail();
    wait_for("the way back", [&] { return daemon.count_in_err("the slots go back") == 1; });
    ChildProcess drain(Start{.argv = {tested_program(), "-c", daemon.config_path(), "-s", "drain"}});
    BOOST_CHECK_EQUAL(asker.wait_exit(), 71);
    BOOST_CHECK_EQUAL(daemon.count_in_err("the old program goes on: could not have the new program"), 1U);
    clients.clear();
    BOOST_CHECK_EQUAL(drain.wait_exit(), 0);
    const Output output = daemon.verb("reload");
    BOOST_CHECK_MESSAGE(output.exit == 0, output.err);
    daemon.wait_complete(2);
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(a_worker_that_dies_of_a_fault_soon_after_takes_its_slot_back) {
    Installed installed;
    TestDaemon& daemon = *installed.daemon;
    BlockingClient client(daemon.address("echo"));
    installed.install(tested_program());
    BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
    BOOST_CHECK(installed.runs_new(daemon.pids(0).worker));
    kill(daemon.pids(0).worker, SIGSEGV);
    wait_for("the old program in slot 0", [&] {
        const Pids pids = daemon.pids(0);
        return pids.both() && !installed.runs_new(pids.worker);
    });
    daemon.wait_complete(2);
    BOOST_CHECK_EQUAL(daemon.count_in_err("goes back to the program before"), 1U);
    BOOST_CHECK(installed.runs_new(daemon.pids(1).worker));
    BOOST_CHECK(client.echoes("still here"));
    BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
    BOOST_CHECK(installed.runs_new(daemon.pids(0).worker));
    daemon.kill_worker(0);  // an operator's kill does not
    daemon.kill_worker(0);
    BOOST_CHECK(installed.runs_new(daemon.pids(0).worker));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
