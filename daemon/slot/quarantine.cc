#include "daemon/slot/quarantine.h"

namespace tcpd::slot {

namespace {

uint32_t count_of(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
Tick age_of(uint64_t word, Tick now) { return now - static_cast<Tick>(word); }

}  // namespace

// Its own, else a free one, else that of the oldest note.
uint32_t Quarantine::place_of(uint64_t key, Tick now) const {
    uint32_t best = 0;
    uint64_t best_rank = 0;
    for (uint32_t i = 0; i < kEntries; ++i) {
        const uint64_t found = entry(i).key.load();
        if (found == key) return i;
        constexpr uint64_t kFree = uint64_t{1} << 32;
        const uint64_t rank = found == 0 ? kFree : age_of(entry(i).word.load(), now);
        if (rank <= best_rank) continue;
        best = i;
        best_rank = rank;
    }
    return best;
}

bool Quarantine::note(uint64_t key, Tick now) {
    words_[0].fetch_add(1, std::memory_order_relaxed);
    const Entry at = entry(place_of(key, now));
    const uint64_t word = at.word.load();
    const bool is_recent = at.key.load() == key && age_of(word, now) < kWindow;
    const uint32_t count = is_recent ? count_of(word) + 1 : 1;
    at.word.store(uint64_t{count} << 32 | now);
    at.key.store(key);
    return count >= kMost;
}

bool Quarantine::look_up(uint64_t key, Tick now) const {
    for (uint32_t i = 0; i < kEntries; ++i) {
        if (entry(i).key.load(std::memory_order_relaxed) != key) continue;
        const uint64_t word = entry(i).word.load(std::memory_order_relaxed);
        return count_of(word) >= kMost && age_of(word, now) < kWindow;
    }
    return false;
}

}  // namespace tcpd::slot
