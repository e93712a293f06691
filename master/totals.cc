#include "master/totals.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/slot/journal.h"

namespace tcpd::master {

namespace {

// The worker stores whole words; a plain read could be split or repeated by the compiler.
uint64_t read(const uint64_t& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }

template <size_t Size>
void read_into(std::array<uint64_t, Size>& to, const uint64_t* from) {
    for (size_t i = 0; i < Size; ++i) to[i] = read(from[i]);
}

template <size_t Size>
void add(std::array<uint64_t, Size>& to, const std::array<uint64_t, Size>& from) {
    for (size_t i = 0; i < Size; ++i) to[i] += from[i];
}

}  // namespace

ListenerTotals& ListenerTotals::operator+=(const ListenerTotals& other) {
    open += other.open;
    accepted += other.accepted;
    add(closed, other.closed);
    add(refused, other.refused);
    add(adopted, other.adopted);
    add(lost, other.lost);
    received_bytes += other.received_bytes;
    sent_bytes += other.sent_bytes;
    return *this;
}

ListenerTotals read_totals(slot::SlotMemory& memory, uint32_t listener) {
    const slot::ListenerCounters& counters = memory.scoreboard().listeners[listener];
    ListenerTotals totals;
    totals.open = std::min<uint64_t>(read(counters.open), memory.record_count());
    totals.accepted = read(counters.accepted);
    read_into(totals.closed, counters.closed);
    read_into(totals.refused, counters.refused);
    read_into(totals.adopted, counters.adopted);
    read_into(totals.lost, counters.lost);
    totals.received_bytes = read(counters.received_bytes);
    totals.sent_bytes = read(counters.sent_bytes);
    return totals;
}

uint64_t open_connections(slot::SlotMemory& memory, uint32_t listeners) {
    uint64_t open = 0;
    for (uint32_t i = 0; i < listeners; ++i) {
        open += std::min<uint64_t>(read(memory.scoreboard().listeners[i].open), memory.record_count());
    }
    return open;
}

std::vector<std::pair<std::string, uint64_t>> slot_counters(slot::SlotMemory& memory) {
    const slot::Scoreboard& board = memory.scoreboard();
    std::vector<std::pair<std::string, uint64_t>> counters;
    for (size_t i = 0; i < static_cast<size_t>(slot::Phase::count); ++i) {
        const uint64_t times = read(board.recovered[i]);
        if (times != 0) {
            counters.emplace_back(fmt::format("recovered {}", slot::name_of(static_cast<slot::Phase>(i))),
                                  times);
        }
    }
    counters.insert(counters.end(), {{"orphans_adopted", read(board.orphans_adopted)},
                                     {"orphans_closed", read(board.orphans_closed)},
                                     {"descriptors_swept", read(board.descriptors_swept)},
                                     {"poller_rebuilt", read(board.poller_rebuilt)},
                                     {"stale_events", read(board.stale_events)},
                                     {"accept_pauses", read(board.accept_pauses)},
                                     {"buffer_pauses", read(board.buffer_pauses)},
                                     {"dropped_log_lines", read(board.dropped_log_lines)},
                                     {"upstream_dials", read(board.upstream_dials)},
                                     {"upstream_refusals", read(board.upstream_refusals)},
                                     {"upstream_local_faults", read(board.upstream_local_faults)}});
    return counters;
}

uint64_t RetiredTotals::take(slot::SlotMemory& memory) {
    uint64_t all_lost = 0;
    for (uint32_t i = 0; i < totals_.size(); ++i) {
        ListenerTotals totals = read_totals(memory, i);
        const uint64_t lost = std::exchange(totals.open, 0);
        totals.lost[static_cast<size_t>(slot::Cause::slot_lost)] += lost;
        totals_[i] += totals;
        all_lost += lost;
    }
    return all_lost;
}

}  // namespace tcpd::master
