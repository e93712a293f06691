// 10,000 idle connections through a kill: none is lost, the next reply comes within milliseconds, and what
// they cost is bytes.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr unsigned kMany = 10'000;

}  // namespace

BOOST_AUTO_TEST_SUITE(many_idle)

BOOST_AUTO_TEST_CASE(ten_thousand_through_a_kill) {
    TestDaemon daemon(
        "workers: 1\nlog: {level: warn}\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n");
    const Address address = daemon.address("echo");
    daemon.wait_complete(1);
    const uint64_t before = daemon.pss_bytes(0);
    ExactPeer peer;
    BlockingClient prober(address);
    const Plan idle{.up_bytes = 100, .window = 100, .holds = true};
    for (unsigned opened = 0; opened < kMany; opened += 500) {
        peer.open(address, idle, 500);
        peer.run_until("their echoes", [&] { return peer.received() == (opened + 500) * 100; });
    }
    BOOST_CHECK_EQUAL(daemon.count("echo", "open"), kMany + 1);
    const uint64_t each = (daemon.pss_bytes(0) - before) / kMany;
    BOOST_TEST_MESSAGE("an idle connection costs " << each << " bytes");
    BOOST_CHECK_LT(each, 1000U);

    BOOST_CHECK(prober.echoes("before"));
    kill(daemon.pids(0).worker, SIGKILL);
    const auto begin = SteadyClock::now();
    BOOST_CHECK(prober.echoes("after"));
    const auto stall = (SteadyClock::now() - begin) / 1us;
    BOOST_TEST_MESSAGE("from the kill to the first reply: " << stall << " us");
    BOOST_CHECK_LT(stall, 1'000'000);

    wait_for("all to be adopted", [&] { return daemon.count("echo", "adopted crash") == kMany + 1; });
    peer.wind_down();
    peer.finish(60s);
    check_all_finished(peer.results());
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
