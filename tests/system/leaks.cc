// Descriptors and memory after many kills are what they were after a few.

#include <boost/test/unit_test.hpp>

#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

void traffic(const TestDaemon& daemon) {
    ExactPeer peer;
    peer.open(daemon.address("front"), Plan{.up_bytes = 100'000}, 10);
    peer.open(daemon.address("echo"), Plan{.up_bytes = 100'000}, 10);
    peer.finish();
    check_all_finished(peer.results());
    wait_for("no open connection", [&] { return daemon.open_connections() == 0; });
}

struct Footprint {
    size_t table, master;
    uint64_t slot_pss, master_pss;
    bool has_no_more_files_than(const Footprint& other) const {
        return table <= other.table && master <= other.master;
    }
};

Footprint footprint(const TestDaemon& daemon) {
    return {daemon.descriptors(0), descriptors_of(daemon.master()), daemon.pss_bytes(0),
            pss_bytes_of(daemon.master())};
}

// AddressSanitizer keeps what was freed for a while.
uint64_t most_growth() { return (is_sanitized() ? 16 * 1024 : 512) * 1024; }

}  // namespace

BOOST_AUTO_TEST_SUITE(leaks)

BOOST_AUTO_TEST_CASE(of_descriptors_and_memory_over_kills) {
    const FakeUpstream upstream;
    TestDaemon daemon(
        "workers: 1\nlog: {level: error}\nsupervisor: {respawn: {initial: 1ms, max: 1ms}}\n"
        "listeners:\n  echo: {listen: 127.0.0.1:0, handler: echo}\n"
        "  front: {listen: 127.0.0.1:0, handler: {proxy: back}}\n"
        "upstreams: {back: {servers: [" +
        upstream.text() + "]}}\n");
    traffic(daemon);
    for (int i = 0; i < 10; ++i) daemon.kill_worker(0);
    traffic(daemon);
    const Footprint before = footprint(daemon);

    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = 20'000, .window = 5000, .repeats = true}, 10);
    peer.open(daemon.address("front"), Plan{.up_bytes = 20'000, .window = 5000, .repeats = true}, 10);
    for (unsigned i = 0; i < times(60, 1000); ++i) {
        peer.run_bytes(50'000);
        daemon.kill_worker(0);
    }
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    traffic(daemon);
    // What the dead left is swept in the next ticks, and a request's own socket is closed a moment after its
    // answer.
    wait_for("no more files than before", [&] { return footprint(daemon).has_no_more_files_than(before); });
    const Footprint after = footprint(daemon);
    BOOST_TEST_MESSAGE("slot " << before.slot_pss << " then " << after.slot_pss << ", master "
                               << before.master_pss << " then " << after.master_pss << " bytes");
    BOOST_CHECK_LT(after.slot_pss, before.slot_pss + 1024 * 1024);
    BOOST_CHECK_LT(after.master_pss, before.master_pss + most_growth());
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
