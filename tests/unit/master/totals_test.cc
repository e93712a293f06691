#include "master/totals.h"

#include <boost/test/unit_test.hpp>

#include "daemon/slot/journal.h"
#include "master/status.h"

using namespace tcpd;
using namespace tcpd::master;

namespace {

// A slot's memory as its worker and as the master have it.
struct Memory {
    slot::SlotFds fds;
    slot::SlotMemory worker, master;

    static slot::SlotMemory checked(Result<slot::SlotMemory> mapped) {
        BOOST_REQUIRE(mapped);
        return std::move(*mapped);
    }
    static slot::SlotFds create() {
        auto created = slot::SlotMemory::create({.slot_number = 0, .record_count = 100});
        BOOST_REQUIRE(created);
        return std::move(*created);
    }
    Memory()
        : fds(create()),
          worker(checked(slot::SlotMemory::map(fds.board.get(), fds.buffers.get()))),
          master(checked(slot::SlotMemory::map_board(fds.board.get()))) {}
};

constexpr auto kFinished = static_cast<size_t>(slot::CloseReason::finished);
constexpr auto kLost = static_cast<size_t>(slot::Cause::slot_lost);

}  // namespace

BOOST_AUTO_TEST_SUITE(totals)

BOOST_AUTO_TEST_CASE(counters_are_read_by_listener) {
    Memory memory;
    slot::ListenerCounters& counters = memory.worker.counters_of(1);
    counters.open = 7;
    counters.accepted = 20;
    counters.closed[kFinished] = 13;
    counters.received_bytes = 1'000;
    const ListenerTotals totals = read_totals(memory.master, 1);
    BOOST_TEST(totals.open == 7U);
    BOOST_TEST(totals.accepted == 20U);
    BOOST_TEST(totals.closed[kFinished] == 13U);
    BOOST_TEST(totals.received_bytes == 1'000U);
    BOOST_TEST(read_totals(memory.master, 0).accepted == 0U);
}

BOOST_AUTO_TEST_CASE(a_gauge_is_never_more_than_there_are_descriptors) {
    Memory memory;
    memory.worker.counters_of(0).open = ~uint64_t{0};
    memory.worker.counters_of(1).open = 5;
    BOOST_TEST(read_totals(memory.master, 0).open == 100U);
    BOOST_TEST(open_connections(memory.master, 2) == 105U);
}

BOOST_AUTO_TEST_CASE(what_was_open_when_a_slot_went_is_lost) {
    RetiredTotals retired(2);
    for (int i = 0; i < 2; ++i) {
        Memory memory;
        memory.worker.counters_of(0).open = 3;
        memory.worker.counters_of(0).accepted = 10;
        memory.worker.counters_of(1).open = 1;
        BOOST_TEST(retired.take(memory.master) == 4U);
    }
    BOOST_TEST(retired.of(0).open == 0U);
    BOOST_TEST(retired.of(0).accepted == 20U);
    BOOST_TEST(retired.of(0).lost[kLost] == 6U);
    BOOST_TEST(retired.of(1).lost[kLost] == 2U);
}

BOOST_AUTO_TEST_CASE(sums_add_every_counter) {
    ListenerTotals one, two;
    one.open = one.accepted = one.closed[3] = one.refused[1] = one.adopted[0] = one.lost[4] = one.sent_bytes =
        1;
    two += one;
    two += one;
    BOOST_TEST(two.open + two.accepted + two.closed[3] + two.refused[1] + two.adopted[0] + two.lost[4] +
                   two.sent_bytes ==
               14U);
}

BOOST_AUTO_TEST_CASE(a_slot_names_its_recoveries_and_no_other_index) {
    Memory memory;
    for (uint64_t& times : memory.worker.counters().recovered) times = 9;
    memory.worker.counters().orphans_adopted = 2;
    const auto counters = slot_counters(memory.master);
    BOOST_TEST(counters.front().first == "recovered idle");
    BOOST_TEST(counters.front().second == 9U);
    BOOST_TEST(counters.size() == static_cast<size_t>(slot::Phase::count) + 11);
}

BOOST_AUTO_TEST_SUITE_END()
