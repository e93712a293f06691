// Unix sockets: a stale path is replaced, one that is in use is not, and connections spread over the slots.

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string config(const std::string& path, const std::string& more = "") {
    return "workers: 2\nlisteners: {echo: {listen: 'unix:" + path + "', handler: echo" + more + "}}\n";
}

std::string many_workers(unsigned workers, const std::string& path = "$DIR/echo.sock") {
    return "workers: " + std::to_string(workers) + "\nlisteners: {echo: {listen: 'unix:" + path +
           "', handler: echo}}\n";
}

// What each slot took since.
class Spread {
public:
    Spread(const TestDaemon& daemon, unsigned slots) : daemon_(daemon) {
        for (unsigned slot = 0; slot < slots; ++slot) before_.push_back(daemon.descriptors(slot));
    }
    void check_share(size_t fair) const {
        for (unsigned slot = 0; slot < before_.size(); ++slot) {
            const size_t taken = daemon_.descriptors(slot) - before_[slot];
            BOOST_TEST_MESSAGE("slot " << slot << " took " << taken);
            BOOST_CHECK_GE(taken, fair / 2);
            BOOST_CHECK_LE(taken, fair + fair / 2);
        }
    }

private:
    const TestDaemon& daemon_;
    std::vector<size_t> before_;
};

void leave_stale(const std::string& path) {
    const Result<Address> address = Address::parse("unix:" + path, false);
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(bind(fd.get(), address->get(), address->length()) == 0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(unix_socket)

BOOST_AUTO_TEST_CASE(a_stale_path_is_replaced) {
    const TempDir directory;
    const std::string path = directory / "echo.sock";
    leave_stale(path);
    TestDaemon daemon(config(path));
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(one_in_use_is_left_alone) {
    TestDaemon daemon(config("$DIR/echo.sock"));
    const TempDir directory;
    const std::string other = directory.write("tcpd.yaml", config(daemon.directory() / "echo.sock"));
    const Output output = run({tested_program(), "-c", other});
    BOOST_CHECK_EQUAL(output.exit, 71);
    BOOST_CHECK_MESSAGE(output.err.find("in use") != std::string::npos, output.err);
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_socket_is_left_alone) {
    const TempDir directory;
    const std::string path = directory.write("precious", "data");
    const std::string file = directory.write("tcpd.yaml", config(path));
    BOOST_CHECK_EQUAL(run({tested_program(), "-c", file}).exit, 71);
    BOOST_CHECK_EQUAL(read_text(path), "data");
}

BOOST_AUTO_TEST_CASE(mode_is_set) {
    TestDaemon daemon(config("$DIR/echo.sock", ", unix: {mode: '0600'}"));
    struct stat found {};
    BOOST_REQUIRE(stat((daemon.directory() / "echo.sock").c_str(), &found) == 0);
    BOOST_CHECK_EQUAL(found.st_mode & 0777, 0600U);
}

// Whatever bind(2) takes once, it takes after a crash as well.
BOOST_AUTO_TEST_CASE(a_stale_path_as_long_as_an_address_can_hold_is_replaced) {
    const TempDir folder;
    const std::string path = folder / std::string(107 - folder.path().size() - 1, 'x');
    BOOST_REQUIRE(path.size() == 107U);
    const UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Address address = *Address::parse("unix:" + path, false);
    BOOST_REQUIRE(::bind(stale.get(), address.get(), address.length()) == 0);
    TestDaemon daemon(config(path, ", unix: {mode: \"0606\"}"));
    BOOST_TEST(BlockingClient(address).echoes("hello"));
    struct stat status {};
    BOOST_REQUIRE(::stat(path.c_str(), &status) == 0);
    BOOST_TEST((status.st_mode & 07777U) == 0606U);
    daemon.kill_worker(0);
    BOOST_TEST(daemon.verb("upgrade").exit == 0);
    BOOST_TEST(BlockingClient(address).echoes("hello"));
}

// Taken out of the configuration, it is what it was made with, also over an upgrade.
BOOST_AUTO_TEST_CASE(mode_is_what_the_configuration_in_force_says) {
    const TempDir folder;
    const std::string path = folder / "s";
    const auto mode = [&] {
        struct stat status {};
        return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0U;
    };
    TestDaemon daemon(config(path));
    const unsigned made = mode();
    const auto reload = [&](const std::string& more) {
        std::ofstream(daemon.config_path()) << "pid_file: tcpd.pid\n" << config(path, more);
        BOOST_TEST(daemon.verb("reload").exit == 0);
    };
    reload(", unix: {mode: \"0606\"}");
    wait_for("the mode to be set", [&] { return mode() == 0606U; });
    BOOST_TEST(daemon.verb("upgrade").exit == 0);
    reload("");
    wait_for("the mode to be as before", [&] { return mode() == made; });
}

BOOST_AUTO_TEST_CASE(both_slots_get_some) {
    TestDaemon daemon(config("$DIR/echo.sock"));
    daemon.wait_complete(2);
    const size_t before[] = {daemon.descriptors(0), daemon.descriptors(1)};
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = 100, .window = 100, .holds = true}, 200);
    peer.run_until("their echoes", [&] { return peer.received() == 200 * 100; });
    const size_t taken[] = {daemon.descriptors(0) - before[0], daemon.descriptors(1) - before[1]};
    BOOST_TEST_MESSAGE("spread " << taken[0] << " to " << taken[1]);
    BOOST_CHECK_GE(std::min(taken[0], taken[1]), 40U);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
}

// The dismissed keep what they have, and hold up nobody.
BOOST_AUTO_TEST_CASE(a_crowd_is_served_and_spread_over_many_and_over_fewer) {
    TestDaemon daemon(many_workers(4));
    daemon.wait_complete(4);
    const Plan plan{.up_bytes = 100, .window = 100, .holds = true};
    ExactPeer peer;
    Spread first(daemon, 4);
    peer.open(daemon.address("echo"), plan, 2000);
    peer.run_until("their echoes", [&] { return peer.received() == 2000 * 100; });
    first.check_share(2000 / 4);
    std::ofstream(daemon.config_path()) << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\n"
                                        << many_workers(2, daemon.directory() / "echo.sock");
    const Output reloaded = daemon.verb("reload");
    BOOST_REQUIRE_MESSAGE(reloaded.exit == 0, reloaded.err);
    Spread second(daemon, 2);
    peer.open(daemon.address("echo"), plan, 1000);
    peer.run_until("theirs", [&] { return peer.received() == 3000 * 100; });
    second.check_share(1000 / 2);
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
}

// Its own connections may end by a time limit; whoever was queued when it went is not one of them.
BOOST_AUTO_TEST_CASE(a_worker_that_goes_leaves_the_queue_to_the_others) {
    TestDaemon daemon(config("$DIR/echo.sock"));
    daemon.wait_complete(2);
    const pid_t stays = daemon.pids(0).worker, goes = daemon.pids(1).worker;
    kill(stays, SIGSTOP);
    kill(goes, SIGSTOP);
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(std::make_unique<BlockingClient>(daemon.address("echo")));
    daemon.send(SIGTTOU);
    wait_for("it to be dismissed", [&] { return daemon.count_in_err("slot 1 takes no new") == 1; });
    kill(goes, SIGCONT);
    wait_for("it to end", [&] { return daemon.count_in_err("slot 1 has ended") == 1; });
    kill(stays, SIGCONT);
    for (auto& client : clients) BOOST_CHECK(client->echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(the_path_goes_with_the_daemon) {
    const TempDir directory;
    const std::string path = directory / "echo.sock";
    TestDaemon daemon(config(path));
    daemon.stop();
    struct stat found {};
    BOOST_CHECK(stat(path.c_str(), &found) != 0);
}

BOOST_AUTO_TEST_SUITE_END()
