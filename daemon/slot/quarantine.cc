#include "daemon/slot/quarantine.h"

namespace tcpd::slot {

namespace {

uint32_t count_of(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
Tick age_of(uint64_t word, Tick now) { return now - static_cast<Tick>(word); }

}  // namespace

bool Quarantine::note(uint64_t key, Tick now) {
    words_[0].fetch_add(1, std::memory_order_relaxed);
    uint32_t at = kEntries;
    for (uint32_t i = 0; i < kEntries; ++i) {
        const uint64_t found = entry(i).key.load();
        if (found == key) {
            at = i;
            break;
        }
        if (at == kEntries ||
            (entry(at).key.load() != 0 &&
             (found == 0 || age_of(entry(i).word.load(), now) > age_of(entry(at).word.load(), now)))) {
            at = i;
        }
    }
    const bool is_known = entry(at).key.load() == key;
    const uint64_t word = entry(at).word.load();
    const bool is_recent = is_known && age_of(word, now) < kWindow;
    const uint32_t count = is_recent ? count_of(word) + 1 : 1;
    entry(at).word.store(uint64_t{count} << 32 | now);
    entry(at).key.store(key);
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
