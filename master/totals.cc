#include "master/totals.h"

#include <fmt/format.h>

#include <algorithm>

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
#define TCPD_LISTENER_METRIC(name, ...) name += other.name;
#define TCPD_LISTENER_METRICS(name, ...) add(name, other.name);
#include "daemon/slot/metrics.def"
    return *this;
}

ListenerTotals read_totals(slot::SlotMemory& memory, uint32_t listener) {
    const slot::ListenerCounters& counters = memory.counters_of(listener);
    ListenerTotals totals;
#define TCPD_LISTENER_METRIC(name, ...) totals.name = read(counters.name);
#define TCPD_LISTENER_METRICS(name, ...) read_into(totals.name, counters.name);
#include "daemon/slot/metrics.def"
    totals.open = std::min<uint64_t>(totals.open, memory.record_count());
    return totals;
}

uint64_t open_connections(slot::SlotMemory& memory, uint32_t listeners) {
    uint64_t open = 0;
    for (uint32_t i = 0; i < listeners; ++i) {
        open += std::min<uint64_t>(read(memory.counters_of(i).open), memory.record_count());
    }
    return open;
}

std::vector<std::pair<std::string, uint64_t>> slot_counters(slot::SlotMemory& memory) {
    const slot::SlotCounters& board = memory.counters();
    std::vector<std::pair<std::string, uint64_t>> counters;
    const auto add_all = [&counters](std::string_view name, const uint64_t* words, auto count) {
        for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
            const uint64_t value = read(words[i]);
            if (value != 0)
                counters.emplace_back(
                    fmt::format("{} {}", name, slot::name_of(static_cast<decltype(count)>(i))), value);
        }
    };
#define TCPD_SLOT_METRIC(name, ...) counters.emplace_back(#name, read(board.name));
#define TCPD_SLOT_METRICS(name, values, ...) add_all(#name, board.name, slot::values::count);
#include "daemon/slot/metrics.def"
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
