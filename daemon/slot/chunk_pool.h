#pragma once

// The buffer chunks of a slot, for output that a socket did not take (and later partial frames): small ones
// of 4 KiB, large ones of 64 KiB. Which are free is this process's private knowledge, rebuilt at adoption
// from the chains that records name; a chunk's bytes and its link lie in slot memory. A chunk is fallocated
// before it is handed out: a page that memory can't back is then an Error here, not a SIGBUS at its first
// touch. Beyond a few megabytes, freed chunks go back to the system. Worker only. Source: fallocate(2),
// FALLOC_FL_PUNCH_HOLE.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "daemon/slot/slot_memory.h"

namespace tcpd::slot {

using ChunkId = uint32_t;  // 0: none; 1..small_count small, then large

class ChunkPool {
public:
    // `memory_fd`: the slot's memfd, borrowed for life.
    ChunkPool(SlotMemory& memory, int memory_fd);

    // A chunk whose link is cleared, or 0: the memory is not to be had.
    ChunkId take_small() { return take(small_); }
    ChunkId take_large() { return take(large_); }
    void release(ChunkId id);
    // Bytes of chunks that are not free; over the budget nothing new is begun. 0: no budget.
    void set_budget(uint64_t bytes) { budget_bytes_ = bytes; }
    bool is_over_budget() const { return budget_bytes_ != 0 && used_bytes_ > budget_bytes_; }
    uint64_t used_bytes() const { return used_bytes_; }
    // True if the next take_small and take_large can't fail. Tries to make it so.
    bool ready() {
        return (!small_.backed.empty() || stock(small_)) && (!large_.backed.empty() || stock(large_));
    }

    char* data(ChunkId id) const {
        return id <= small_.count ? small_.base + uint64_t{id - 1} * kSmallChunkBytes
                                  : large_.base + uint64_t{id - 1 - small_.count} * kLargeChunkBytes;
    }
    uint32_t bytes(ChunkId id) const { return id <= small_.count ? kSmallChunkBytes : kLargeChunkBytes; }
    ChunkLink& link(ChunkId id) const { return links_[id]; }
    bool is_valid(uint64_t id) const { return id != 0 && id <= uint64_t{small_.count} + large_.count; }

    // Adoption: mark every chunk in use (false: it already was), then `rebuild` makes all others free.
    bool mark_used(ChunkId id);
    void rebuild();

private:
    struct Size {
        uint32_t first = 0, count = 0, chunk_bytes = 0, keep = 0;
        char* base = nullptr;
        std::atomic<uint32_t>* high = nullptr;  // ids first..first+high-1 were taken at some time
        std::vector<ChunkId> backed, bare;      // free, with and perhaps without memory behind them
    };
    ChunkId take(Size& size);
    bool stock(Size& size);
    void rebuild(Size& size);
    Size& size_of(ChunkId id) { return id <= small_.count ? small_ : large_; }
    bool change_backing(const Size& size, ChunkId id, int mode);

    SlotMemory& memory_;
    int memory_fd_;
    ChunkLink* links_;
    Size small_, large_;
    uint64_t budget_bytes_ = 0;
    uint64_t used_bytes_ = 0;
    std::vector<bool> used_;  // while adopting
};

}  // namespace tcpd::slot
