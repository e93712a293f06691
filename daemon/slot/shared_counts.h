#pragma once

// How many connections each slot holds of each listener, and how fast each listener accepts: one memory that
// all slots and the master map, for limits that hold over all workers. It is a memfd, or, where the kernel
// steers by it, the value of a BPF map. A slot writes its own column only; a successor puts it right when it
// adopts; the master clears the column of a slot that was lost. Readers add up a row, which may be a moment
// old. What all slots write is right whoever dies.

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/layout.h"
#include "daemon/slot/quarantine.h"

namespace tcpd::slot {

class SharedCounts {
public:
    static Result<UniqueFd> create();
    // fd: of create, or a BPF map whose one value has kBytes.
    static Result<SharedCounts> map(int fd);
    static constexpr size_t kBytes = size_t{kMaxListeners} * kMaxSlots * sizeof(uint32_t) + 3 * kPageBytes;
    static constexpr size_t kSteeredOffset = kBytes - 3 * kPageBytes + 64;
    static constexpr size_t kInServiceOffset = kSteeredOffset + kMaxSlots * sizeof(uint32_t);
    static constexpr uint32_t kTurns = 256;
    static constexpr size_t kTurnsOffset = kInServiceOffset + kMaxSlots * sizeof(uint32_t);
    static constexpr size_t kAutoTotalOffset = kBytes - 2 * kPageBytes - sizeof(uint64_t);
    static constexpr size_t kQuarantineOffset = kBytes - 2 * kPageBytes;
    static constexpr size_t kBuffersOffset = kBytes - kPageBytes;
    static constexpr size_t kAcceptsOffset = kBytes - kMaxListeners * sizeof(uint64_t);
    static_assert(kTurnsOffset + kTurns * sizeof(uint32_t) <= kAutoTotalOffset);
    static_assert(kQuarantineOffset + Quarantine::kBytes <= kBuffersOffset);
    static_assert(kBuffersOffset + kMaxSlots * sizeof(uint64_t) <= kAcceptsOffset);
    SharedCounts(SharedCounts&& other) noexcept;
    SharedCounts& operator=(SharedCounts&&) = delete;
    ~SharedCounts();

    std::atomic<uint32_t>& open(uint32_t listener, uint32_t slot) {
        return cells_[listener * kMaxSlots + slot];
    }
    // Columns in use; the master's to say, and it only ever grows.
    std::atomic<uint32_t>& slots() { return cells_[kMaxListeners * kMaxSlots]; }
    // Connections of all listeners that were steered to a slot and have not ended: counted up by whoever
    // steers, before they are accepted, and down by the slot, which puts it right from time to time.
    std::atomic<uint32_t>& steered(uint32_t slot) { return cells_[kSteeredOffset / sizeof(uint32_t) + slot]; }
    // 1: connections are steered to the slot. Of a queue that all share it takes them, too. Written by the
    // master.
    std::atomic<uint32_t>& in_service(uint32_t slot) {
        return cells_[kInServiceOffset / sizeof(uint32_t) + slot];
    }
    // Whose turn it is among the servers of an upstream, by its index in the configuration: counted up for each client
    // by whoever dials for it, so that all slots together go round evenly. Another configuration goes on from it.
    std::atomic<uint32_t>& turn(size_t upstream) {
        return cells_[kTurnsOffset / sizeof(uint32_t) + upstream % kTurns];
    }
    // Bytes of buffers that a slot has in use; written by the slot, and to 0 by the master when it is lost.
    std::atomic<uint64_t>& buffer_bytes(uint32_t slot) {
        return reinterpret_cast<std::atomic<uint64_t>*>(cells_ + kBuffersOffset / sizeof(uint32_t))[slot];
    }
    uint64_t total_buffer_bytes() {
        uint64_t sum = 0;
        const uint32_t end = std::min(slots().load(std::memory_order_relaxed), kMaxSlots);
        for (uint32_t i = 0; i < end; ++i) sum += buffer_bytes(i).load(std::memory_order_relaxed);
        return sum;
    }
    // What `memory.total: auto` stands for, in bytes; 0: no limit. Written by the master.
    std::atomic<uint64_t>& auto_total_bytes() {
        return *reinterpret_cast<std::atomic<uint64_t>*>(cells_ + kAutoTotalOffset / sizeof(uint32_t));
    }
    Quarantine quarantine() {
        return Quarantine(
            reinterpret_cast<std::atomic<uint64_t>*>(cells_ + kQuarantineOffset / sizeof(uint32_t)));
    }
    // When a listener's next connection is due; a RateLimit's word, written by all slots.
    std::atomic<uint64_t>& accept_due(uint32_t listener) {
        return reinterpret_cast<std::atomic<uint64_t>*>(cells_ + kAcceptsOffset / sizeof(uint32_t))[listener];
    }
    // Over the first `slots` columns.
    uint64_t total(uint32_t listener, uint32_t slots) const;

private:
    explicit SharedCounts(std::atomic<uint32_t>* cells) : cells_(cells) {}
    std::atomic<uint32_t>* cells_ = nullptr;
};

}  // namespace tcpd::slot
