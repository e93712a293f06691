// Out of descriptors: accepting pauses and goes on by itself, those connected are served, no upstream is
// blamed.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr rlim_t kFiles = 272;
using Clients = std::vector<std::unique_ptr<BlockingClient>>;

// More clients than descriptors; the kernel connects them all.
Clients crowd(const Address& address) {
    Clients clients;
    for (rlim_t i = 0; i < kFiles + 20; ++i) clients.push_back(std::make_unique<BlockingClient>(address));
    return clients;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(accept_faults)

BOOST_AUTO_TEST_CASE(pauses_and_recovers) {
    TestDaemon daemon(
        DaemonOptions{.config = "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n",
                      .open_files = kFiles});
    const Address address = daemon.address("echo");
    BlockingClient first(address);
    BOOST_CHECK(first.echoes("hello"));
    Clients clients = crowd(address);
    wait_for("the table to fill", [&] { return daemon.count("echo", "open") > 40; });
    BOOST_CHECK(first.echoes("still served"));
    daemon.kill_worker(0);
    BOOST_CHECK(first.echoes("after a kill, too"));
    BOOST_CHECK_LT(daemon.count("echo", "open"), kFiles);
    clients.clear();
    wait_for("the crowd to be gone", [&] { return daemon.count("echo", "open") == 1; });
    BOOST_CHECK(BlockingClient(address).echoes("hello"));
    daemon.check_nothing_lost();
}

// An odd number of connections beside the pairs: the last client finds room, its dial does not.
BOOST_AUTO_TEST_CASE(an_upstream_is_not_blamed) {
    const FakeUpstream upstream;
    TestDaemon daemon(DaemonOptions{.config = "workers: 1\nlisteners:\n"
                                              "  echo: {listen: 127.0.0.1:0, handler: echo}\n"
                                              "  front: {listen: 127.0.0.1:0, handler: {proxy: back}}\n"
                                              "upstreams: {back: {servers: [" +
                                              upstream.text() + "]}}\n",
                                    .open_files = kFiles});
    const Address address = daemon.address("front");
    BlockingClient odd(daemon.address("echo"));
    BOOST_CHECK(odd.echoes("hello"));
    BlockingClient first(address);
    BOOST_CHECK(first.echoes(Hello().bytes()));
    Clients clients = crowd(address);
    wait_for("a dial without a descriptor", [&] {
        const std::string text = daemon.status().text();
        return text.find("upstream_local_faults") != std::string::npos &&
               text.find("upstream_local_faults 0\n") == std::string::npos;
    });
    const Status status = daemon.status();
    BOOST_CHECK_EQUAL(status.count("front", "closed upstream_refused"), 0U);
    BOOST_CHECK_EQUAL(status.count("front", "closed upstream_timeout"), 0U);
    clients.clear();
    wait_for("the crowd to be gone", [&] { return daemon.count("front", "open") <= 2; });
    BOOST_CHECK(BlockingClient(address).echoes(Hello().bytes()));
    std::string more(100, '\0');
    Pattern(0, Hello().bytes()).fill(sizeof(Hello), more.data(), more.size());
    BOOST_CHECK(first.echoes(more));
}

BOOST_AUTO_TEST_SUITE_END()
