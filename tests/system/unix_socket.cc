// Unix sockets: a stale path is replaced, one that is in use is not, and connections spread over the slots.

#include <sys/stat.h>
#include <sys/un.h>

#include <boost/test/unit_test.hpp>

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

BOOST_AUTO_TEST_CASE(the_path_goes_with_the_daemon) {
    const TempDir directory;
    const std::string path = directory / "echo.sock";
    TestDaemon daemon(config(path));
    daemon.stop();
    struct stat found {};
    BOOST_CHECK(stat(path.c_str(), &found) != 0);
}

BOOST_AUTO_TEST_SUITE_END()
