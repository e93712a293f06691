#pragma once

// Counters of a listener as the master adds them up: over the slots that are there, and those that were and
// are gone; and those of a slot alone. Master only. Slot memory is read, never trusted: no number from it is
// an index, a gauge is at most what could be.

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "daemon/slot/slot_memory.h"

namespace tcpd::master {

struct ListenerTotals {
    uint64_t open = 0, accepted = 0;
    std::array<uint64_t, slot::kReasons> closed{};
    std::array<uint64_t, slot::kRefusals> refused{};
    std::array<uint64_t, slot::kCauses> adopted{}, lost{};
    uint64_t received_bytes = 0, sent_bytes = 0;

    ListenerTotals& operator+=(const ListenerTotals& other);
};

// `listener`: a stable id below kMaxListeners.
ListenerTotals read_totals(slot::SlotMemory& memory, uint32_t listener);
// Over the first `listeners` ids.
uint64_t open_connections(slot::SlotMemory& memory, uint32_t listeners);

// What a slot's scoreboard says of itself: successions by phase, orphans and the like; names as in the
// status.
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
