#pragma once

// How many connections each slot holds of each listener, and how fast each listener accepts: one memory that
// all slots and the master map, for limits that hold over all workers. It is a memfd, or, where the kernel
// steers by it, the value of a BPF map. A slot writes its own column only; a successor puts it right when it
// adopts; the master clears the column of a slot that was lost. Readers add up a row, which may be a moment
// old. What all slots write is right whoever dies.

#include <atomic>
#include <cstdint>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/layout.h"

namespace tcpd::slot {

class SharedCounts {
public:
    static Result<UniqueFd> create();
    // fd: of create, or a BPF map whose one value has kBytes.
    static Result<SharedCounts> map(int fd);
    static constexpr size_t kBytes = size_t{kMaxListeners} * kMaxSlots * sizeof(uint32_t) + kPageBytes;
    static constexpr size_t kSteeredOffset = kBytes - kPageBytes + 64;
    static constexpr size_t kAcceptsOffset = kBytes - kMaxListeners * sizeof(uint64_t);
    static_assert(kSteeredOffset + kMaxSlots * sizeof(uint32_t) <= kAcceptsOffset);
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
