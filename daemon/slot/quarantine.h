#pragma once

// Whose messages brought workers down again and again: an address or an identity, by a hash of it that no
// client can foresee (AddressCounts::key_of). In memory that all slots share, written by any of them; entries
// are few, the oldest makes room. A death in the middle of a note leaves one that says less than it might.

#include <atomic>
#include <cstdint>

#include "daemon/slot/record.h"

namespace tcpd::slot {

class Quarantine {
public:
    static constexpr uint32_t kEntries = 128;
    static constexpr uint32_t kMost = 3;     // of them within kWindow
    static constexpr Tick kWindow = 35'763;  // 10 min
    static constexpr size_t kBytes = 2 * kEntries * sizeof(uint64_t) + sizeof(uint64_t);

    // `words`: kBytes of shared memory, 0 at first.
    explicit Quarantine(std::atomic<uint64_t>* words) : words_(words) {}

    // Another message of it brought a worker down. True: it is refused from now on, for kWindow.
    bool note(uint64_t key, Tick now);
    bool refuses(uint64_t key, Tick now) const { return is_used() && look_up(key, now); }
    bool is_used() const { return words_[0].load(std::memory_order_relaxed) != 0; }

private:
    struct Entry {
        std::atomic<uint64_t>& key;
        std::atomic<uint64_t>& word;  // count << 32 | tick of the last
    };
    Entry entry(uint32_t i) const { return {words_[1 + 2 * i], words_[2 + 2 * i]}; }
    uint32_t place_of(uint64_t key, Tick now) const;
    bool look_up(uint64_t key, Tick now) const;
    std::atomic<uint64_t>* words_;  // how many were noted; then the entries
};

}  // namespace tcpd::slot
