// What a service manager does with tcpd: passes sockets to it, and hears of its state.

#include <fcntl.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

// A service manager's own copy of a socket that it passes: not close-on-exec, as the shell in between needs
// it.
class PassedSocket {
public:
    explicit PassedSocket(const std::string& address) : fd_(::socket(family(address), SOCK_STREAM, 0)) {
        const auto wanted = Address::parse(address, true);
        sockaddr_storage bound{};
        socklen_t length = sizeof bound;
        if (::bind(fd_.get(), wanted->get(), wanted->length()) != 0 || ::listen(fd_.get(), 16) != 0 ||
            ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
            throw Failed("no socket to pass");
        }
        address_ = Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&bound), length);
    }
    int fd() const { return fd_.get(); }
    const Address& address() const { return address_; }
    bool listens() const {
        int listens = 0;
        socklen_t length = sizeof listens;
        return ::getsockopt(fd_.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens == 1;
    }

private:
    static int family(const std::string& address) { return Address::parse(address, true)->family(); }
    UniqueFd fd_;
    Address address_;
};

// The variables name the process that they are for, which only it can know: a shell in its place.
std::vector<std::string> passing(const std::string& names, const std::vector<int>& sockets) {
    std::string script = "export LISTEN_PID=$$ LISTEN_FDS=" + std::to_string(sockets.size()) +
                         " LISTEN_FDNAMES=" + names + "; exec \"$@\"";
    int target = 3;
    for (const int fd : sockets) script += " " + std::to_string(target++) + "<&" + std::to_string(fd);
    return {"bash", "-c", script, "bash"};
}

void rewrite(const TestDaemon& daemon, const std::string& text) {
    std::ofstream(daemon.config_path()) << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\n" << text;
}

class Manager {
public:
    Manager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        const auto address = Address::parse("unix:" + path(), false);
        if (::bind(socket_.get(), address->get(), address->length()) != 0) throw Failed("no manager");
    }
    std::string path() const { return directory_ / "notify"; }
    // Empty: none is there.
    std::string next() {
        std::string message(4096, '\0');
        const ssize_t got = ::recv(socket_.get(), message.data(), message.size(), 0);
        message.resize(got < 0 ? 0 : static_cast<size_t>(got));
        return message;
    }
    // Reads on until one with all of these; the ones before it are dropped.
    void wait_message(const std::vector<std::string>& parts) {
        wait_for("a message with " + parts.front(), [&] {
            for (std::string message; !(message = next()).empty();) {
                const bool has_all = std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
                    return message.find(part) != std::string::npos;
                });
                if (has_all) return true;
            }
            return false;
        });
    }

private:
    TempDir directory_;
    UniqueFd socket_;
};

constexpr const char* kEcho = "workers: 2\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(service)

BOOST_AUTO_TEST_CASE(passed_sockets_are_kept_for_life_and_never_shut) {
    const TempDir directory;
    PassedSocket tcp("127.0.0.1:0"), local("unix:" + (directory / "local"));
    BlockingClient early(tcp.address());
    early.send("early");
    const std::string web = "web: {listen: systemd:web, handler: echo}";
    const std::string both =
        "workers: 2\nlisteners: {" + web + ", local: {listen: systemd:local, handler: echo}}\n";
    TestDaemon daemon(DaemonOptions{.config = both, .prefix = passing("web:local", {tcp.fd(), local.fd()})});
    BOOST_CHECK_EQUAL(early.receive(5), "early");
    BOOST_CHECK_EQUAL(daemon.address("web").text(), tcp.address().text());
    BlockingClient over_path(local.address());
    BOOST_CHECK(over_path.echoes("x"));

    rewrite(daemon, "workers: 2\nlisteners: {" + web + "}\n");
    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
    BOOST_CHECK(local.listens());
    BlockingClient waiting(local.address());
    waiting.send("wait");
    BOOST_CHECK(over_path.echoes("still here"));
    rewrite(daemon, both);
    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
    BOOST_CHECK_EQUAL(waiting.receive(4), "wait");

    for (int i = 0; i < 3; ++i) BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
    for (unsigned slot : {0U, 1U}) daemon.kill_worker(slot);
    for (BlockingClient* client : {&early, &over_path, &waiting}) BOOST_CHECK(client->echoes("after"));
    for (const PassedSocket* socket : {&tcp, &local}) {
        BlockingClient fresh(socket->address());
        BOOST_CHECK(fresh.echoes("fresh"));
    }
    daemon.check_nothing_lost();
    daemon.stop();
    BOOST_CHECK(tcp.listens());
    BOOST_CHECK(local.listens());
}

BOOST_AUTO_TEST_CASE(clients_of_a_shared_tcp_socket_are_spread) {
    PassedSocket tcp("127.0.0.1:0");
    TestDaemon daemon(
        DaemonOptions{.config = "workers: 2\nlisteners: {web: {listen: systemd:web, handler: echo}}\n",
                      .prefix = passing("web", {tcp.fd()})});
    std::vector<std::unique_ptr<BlockingClient>> clients;
    for (int i = 0; i < 400; ++i) {
        clients.push_back(std::make_unique<BlockingClient>(tcp.address()));
        BOOST_REQUIRE(clients.back()->echoes("x"));
    }
    for (unsigned slot : {0U, 1U}) BOOST_CHECK_GE(daemon.descriptors(slot), 150U);
}

BOOST_AUTO_TEST_CASE(a_name_that_was_not_passed_is_told) {
    PassedSocket tcp("127.0.0.1:0");
    const std::string config = "listeners: {web: {listen: systemd:wed, handler: echo}}\n";
    TestDaemon daemon(
        DaemonOptions{.config = config, .prefix = passing("web", {tcp.fd()}), .wait_ready = false});
    daemon.expect_any_exit();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 71);
    BOOST_CHECK_EQUAL(daemon.count_in_err("could not listen on the socket that the service manager passes as "
                                          "\"wed\": it passed \"web\" (set FileDescriptorName=wed"),
                      1U);
}

BOOST_AUTO_TEST_CASE(a_wrapper_that_does_not_exec_is_told) {
    PassedSocket tcp("127.0.0.1:0");
    std::vector<std::string> wrapper = passing("web", {tcp.fd()});
    wrapper.at(2).replace(wrapper.at(2).find("exec "), 5, "");
    wrapper.at(2) += "; exit $?";
    TestDaemon daemon(DaemonOptions{.config = "listeners: {web: {listen: systemd:web, handler: echo}}\n",
                                    .prefix = wrapper,
                                    .wait_ready = false});
    daemon.expect_any_exit();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 71);
    BOOST_CHECK_EQUAL(daemon.count_in_err(": a wrapper has to exec tcpd"), 1U);
}

BOOST_AUTO_TEST_CASE(a_datagram_socket_is_refused) {
    const UniqueFd datagrams(::socket(AF_INET, SOCK_DGRAM, 0));
    const std::string config = "listeners: {web: {listen: systemd:web, handler: echo}}\n";
    TestDaemon daemon(
        DaemonOptions{.config = config, .prefix = passing("web", {datagrams.get()}), .wait_ready = false});
    daemon.expect_any_exit();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 71);
    BOOST_CHECK_EQUAL(daemon.count_in_err("it is a datagram socket"), 1U);
}

BOOST_AUTO_TEST_CASE(changes_are_told_to_the_service_manager) {
    Manager manager;
    TestDaemon daemon(DaemonOptions{
        .config = kEcho, .environment = {"NOTIFY_SOCKET=" + manager.path(), "WATCHDOG_USEC=400000"}});
    manager.wait_message({"READY=1", "STATUS=serving 0 connections with 2 workers\n"});
    manager.wait_message({"WATCHDOG=1"});

    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
    manager.wait_message({"RELOADING=1", "MONOTONIC_USEC=", "STATUS=reloading\n"});
    manager.wait_message({"READY=1", "STATUS=serving"});
    rewrite(daemon, "listeners: {echo: {listen: nowhere, handler: echo}}\n");
    BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 78);
    manager.wait_message({"RELOADING=1"});
    manager.wait_message({"READY=1", "the last reload failed: "});

    rewrite(daemon, kEcho);
    BOOST_REQUIRE_EQUAL(daemon.verb("upgrade").exit, 0);
    manager.wait_message({"RELOADING=1", "STATUS=upgrading\n"});
    manager.wait_message({"READY=1", "STATUS=serving"});
    manager.wait_message({"WATCHDOG=1"});

    BlockingClient client(daemon.address("echo"));
    BOOST_REQUIRE(client.echoes("x"));
    daemon.send(SIGTERM);
    manager.wait_message({"STOPPING=1", "STATUS=draining, 1 connection left\n"});
    manager.wait_message({"EXTEND_TIMEOUT_USEC="});
    client.close();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_SUITE_END()
