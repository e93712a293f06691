// A slot that was to drain, or to let an address go, first took all that waited at its listening sockets. While
// somebody connected as fast as it was taken, it did nothing else: nobody was served, the drain did not begin, and
// the watchdog killed one worker after the other.

#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <thread>

#include "tests/support/blocking_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

// Connects and closes without an end.
class Flood {
public:
    explicit Flood(const Address& address) {
        for (int i = 0; i < 6; ++i) threads_.emplace_back([this, address] { run(address); });
    }
    ~Flood() {
        over_ = true;
        for (std::thread& thread : threads_) thread.join();
    }

private:
    void run(const Address& address) const {
        while (!over_) {
            const UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            (void)::connect(fd.get(), address.get(), address.length());
        }
    }

    std::atomic<bool> over_{false};
    std::vector<std::thread> threads_;
};

const char kConfig[] =
    "workers: 1\n"
    "drain: {stop: 60s}\n"
    "log: {level: error}\n"
    "listeners:\n"
    "  kept: {listen: '127.0.0.1:0', handler: echo}\n"
    "  flooded: {listen: 'unix:$DIR/s', handler: echo, limits: {connections: 20}}\n";

Address flooded(const TestDaemon& daemon) {
    const std::string path = daemon.directory() / "s";
    return *Address::parse("unix:" + path, false);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(drain_never_began)

BOOST_AUTO_TEST_CASE(a_drain_begins_and_clients_are_served_while_others_connect_without_an_end) {
    TestDaemon daemon(kConfig);
    const Address kept = daemon.address("kept"), address = flooded(daemon);
    BlockingClient client(kept);
    BOOST_CHECK(client.echoes("before"));
    const pid_t worker = daemon.pids(0).worker;
    {
        const Flood flood(address);
        BOOST_CHECK(client.echoes("flooded"));
        daemon.send(SIGTERM);
        wait_for("the worker to close its listening socket", [&] { return !can_connect(kept); });
        BOOST_CHECK(client.echoes("draining"));
        wait_for("the other one to be closed", [&] {
            const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
            return ::connect(fd.get(), address.get(), address.length()) != 0;
        });
        BOOST_CHECK(client.echoes("drained"));
    }
    BOOST_CHECK_EQUAL(daemon.pids(0).worker, worker);
    client.close();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_SUITE_END()
