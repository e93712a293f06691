#include "master/totals.h"

#include <algorithm>
#include <utility>

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
