#pragma once

// Counters of a listener as the master adds them up: over the slots that are there, and those that were and
// are gone; and those of a slot alone. Master only. Slot memory is read, never trusted: no number from it is
// an index, a gauge is at most what could be.

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "daemon/slot/journal.h"
#include "daemon/slot/slot_memory.h"

namespace tcpd::master {

// ListenerCounters with a place for each known value only.
struct ListenerTotals {
#define TCPD_LISTENER_METRIC(name, ...) uint64_t name = 0;
#define TCPD_LISTENER_METRICS(name, values, places, ...)                 \
    static_assert(static_cast<size_t>(slot::values::count) <= (places)); \
    std::array<uint64_t, static_cast<size_t>(slot::values::count)> name{};
#include "daemon/slot/metrics.def"

    ListenerTotals& operator+=(const ListenerTotals& other);
};

// `listener`: a stable id below kMaxListeners.
ListenerTotals read_totals(slot::SlotMemory& memory, uint32_t listener);
// Over the first `listeners` ids.
uint64_t open_connections(slot::SlotMemory& memory, uint32_t listeners);

// What a slot says of itself, in the order of metrics.def: names as in the status, of many values only
// those that are not 0.
std::vector<std::pair<std::string, uint64_t>> slot_counters(slot::SlotMemory& memory);

// What slots counted whose memory is gone. Connections that were open then are lost.
class RetiredTotals {
public:
    explicit RetiredTotals(size_t listeners) : totals_(listeners) {}
    // Returns how many were lost.
    uint64_t take(slot::SlotMemory& memory);
    const ListenerTotals& of(uint32_t listener) const { return totals_[listener]; }
    const std::vector<ListenerTotals>& all() const { return totals_; }
    void take_over(std::vector<ListenerTotals> totals) {
        totals.resize(totals_.size());
        totals_ = std::move(totals);
    }

private:
    std::vector<ListenerTotals> totals_;
};

}  // namespace tcpd::master
