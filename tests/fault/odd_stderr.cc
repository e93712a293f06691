// A worker dies between accept and the record, and its successor looks for what was accepted. Standard error and the
// log are no client of anybody, whatever kind of file they are, and neither is a socket that a library left open.

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "tests/support/blocking_client.h"
#include "tests/support/fault_walk.h"
#include "tests/support/process_view.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr int kDeaths = 4;
constexpr int kLogFd = 7;

std::string file_of(pid_t pid, int fd) {
    std::error_code gone;
    return std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd), gone);
}

void die_while_accepting(const std::string& kind) {
    FaultArea area;
    TestDaemon daemon(
        DaemonOptions{.config = "workers: 1\nsupervisor: {respawn: {initial: 1ms, max: 1ms}}\nlisteners:\n"
                                "  it: {listen: ['127.0.0.1:0', 'unix:$DIR/it'], handler: echo}\n"
                                "  other: {listen: 127.0.0.1:0, handler: discard}\n",
                      .environment = {area.environment()},
                      .prefix = {ODD_STDERR_BINARY, kind}});
    const Pids first = daemon.pids(0);
    const std::string log = file_of(first.worker, kLogFd);
    BOOST_REQUIRE(!log.empty());
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < kDeaths; ++i) {
        const Address address = daemon.address("it", static_cast<size_t>(i) % 2);
        area.arm(fault::Point::accept_done_not_published, fault::Action::kill);
        clients.push_back(std::make_unique<BlockingClient>(address));
        wait_for("a worker to die",
                 [&] { return area.acted(fault::Point::accept_done_not_published) == i + 1U; });
        daemon.wait_complete(1);
        BOOST_TEST(clients.back()->echoes("hello"), kind);
    }
    for (int i = 0; i < 20; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(daemon.address("it")));
        BOOST_TEST(clients.back()->echoes("hello"), kind);
    }
    const pid_t worker = daemon.pids(0).worker;
    BOOST_TEST(file_of(worker, kLogFd) == log, kind);
    BOOST_TEST(file_of(worker, STDERR_FILENO) ==
               file_of(first.standby == worker ? worker : daemon.pids(0).standby, 2));
    BOOST_TEST(daemon.open_connections() == clients.size(), kind);
    BOOST_TEST(daemon.verb("reload").exit == 0, kind);
    for (const auto& client : clients) BOOST_TEST(client->echoes("after a reload"), kind);
    daemon.check_nothing_lost();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(odd_stderr)

BOOST_AUTO_TEST_CASE(is_never_a_client) {
    for (const char* kind : {"unix", "tcp", "pipe", "file", "closed", "leftover"}) die_while_accepting(kind);
}

BOOST_AUTO_TEST_SUITE_END()
