// Thousands of authenticated sessions with heartbeats through kills, reloads and upgrades: none has to
// authenticate again, none misses a PONG, and what an idle one costs is bytes.

#include <boost/test/unit_test.hpp>

#include "tests/support/framed_client.h"
#include "tests/support/session_swarm.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

// A sanitized daemon is several times slower, and so much larger.
const unsigned kMany = is_sanitized() ? 2'000 : 10'000;

// $TOKENS: the file of tokens.
constexpr const char* kConfig = R"(workers: 1
log: {level: warn}
supervisor: {respawn: {initial: 10ms, max: 50ms}}
listeners:
  it:
    listen: 127.0.0.1:0
    framing: tcpd
    auth: {methods: [token], tokens: $TOKENS}
    heartbeat: {interval: 5s, misses: 3}
    handler: echo
)";

}  // namespace

BOOST_AUTO_TEST_SUITE(many_sessions)

BOOST_AUTO_TEST_CASE(none_has_to_authenticate_again) {
    const TempDir folder;
    std::string config = kConfig;
    config.replace(config.find("$TOKENS"), 7, folder.write("tokens", kTokens));
    TestDaemon daemon(config);
    daemon.wait_complete(1);
    const uint64_t before = daemon.pss_bytes(0);
    SessionSwarm swarm(kMany);
    swarm.open(daemon.address("it"), kToken);
    const uint64_t each = (daemon.pss_bytes(0) - before) / kMany;
    BOOST_TEST_MESSAGE("an idle session costs " << each << " bytes");
    if (!is_sanitized()) BOOST_CHECK_LT(each, 1000U);

    const unsigned kills = times(5, 50), renewals = times(2, 20);
    for (unsigned i = 0; i < kills + renewals; ++i) {
        swarm.send_pings();
        const bool is_kill =
            i % ((kills + renewals) / renewals) != 0 || i / ((kills + renewals) / renewals) >= renewals;
        const std::string cause = is_kill ? "" : i % 2 == 0 ? "upgrade" : "reload";
        if (is_kill) {
            daemon.kill_worker(0);
        } else {
            BOOST_CHECK_EQUAL(daemon.verb(cause).exit, 0);
            daemon.wait_complete(1);
        }
        swarm.run_until("every PONG", [&] { return swarm.has_all_pongs(); });
    }
    const uint64_t heard = swarm.pings_of_server();
    swarm.run_until("a heartbeat", [&] { return swarm.pings_of_server() >= heard + kMany; });
    swarm.send_frames();
    swarm.run_until("every echo", [&] { return swarm.has_all_echoes(); });
    BOOST_CHECK_EQUAL(daemon.count("it", "open"), kMany);
    BOOST_CHECK_EQUAL(daemon.count("it", "accepted"), kMany);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
