#pragma once

// The buffer chunks of a slot, for output that a socket did not take and frames that are gathered: small ones
// of 4 KiB, large ones of 64 KiB. Which are free is this process's private knowledge, rebuilt at adoption
// from the chains that records name; a chunk's bytes and its link lie in slot memory. A chunk is fallocated
// before it is handed out: a page that memory can't back is then an Error here, not a SIGBUS at its first
// touch. Beyond a few megabytes, and under a budget for all slots beyond a small share of it, freed chunks go
// back to the system. Worker only. Source: fallocate(2), FALLOC_FL_PUNCH_HOLE.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "daemon/slot/shared_counts.h"
#include "daemon/slot/slot_memory.h"

namespace tcpd::slot {

using ChunkId = uint32_t;  // 0: none; 1..small_count small, then large

class ChunkPool {
public:
    // `buffers_fd`: the memfd that has the chunks, borrowed for life.
    ChunkPool(SlotMemory& memory, int buffers_fd, SharedCounts& counts);

    // A chunk whose link is cleared, or 0: the memory is not to be had.
    ChunkId take_small() { return take(small_); }
    ChunkId take_large() { return take(large_); }
    void release(ChunkId id);
    // Over one of the budgets, of bytes of chunks that are in use, nothing new is begun: that of this slot,
    // and that of all of them together. 0: none. No total: the one that the master reckons, which may change.
    void set_budgets(uint64_t own_bytes, std::optional<uint64_t> total_bytes);
    // What the other slots use, as it counts until the next look: it is asked for at each receive.
    void look_at_others() {
        if (follows_master_ && total_budget_ != counts_.auto_total_bytes().load(std::memory_order_relaxed))
            set_total(counts_.auto_total_bytes().load(std::memory_order_relaxed));
        if (total_budget_ != 0) others_bytes_ = counts_.total_buffer_bytes() - used_bytes();
    }
    bool is_over_budget() const {
        return (own_budget_ != 0 && used_bytes() > own_budget_) ||
               (total_budget_ != 0 && others_bytes_ + used_bytes() > total_budget_);
    }
    uint64_t used_bytes() const { return used_.load(std::memory_order_relaxed); }
    // Every worker has one that it receives into, and no budget could do without: it is not counted.
    void leave_out(ChunkId id) { add_used(-uint64_t{bytes(id)}); }
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
    void set_total(uint64_t bytes);
    void unmap_now_and_then();
    static uint32_t high_of(const Size& size);
    void give_back(Size& size);
    void make_bare(Size& size, ChunkId id);
    ChunkId take(Size& size);
    bool stock(Size& size);
    void rebuild(Size& size);
    void add_used(uint64_t bytes) { used_.store(used_bytes() + bytes, std::memory_order_relaxed); }
    Size& size_of(ChunkId id) { return id <= small_.count ? small_ : large_; }
    bool change_backing(const Size& size, ChunkId id, int mode);

    SlotMemory& memory_;
    int buffers_fd_;
    ChunkLink* links_;
    Size small_, large_;
    SharedCounts& counts_;
    std::atomic<uint64_t>& used_;  // in what all slots share
    uint64_t own_budget_ = 0, total_budget_ = 0, others_bytes_ = 0;
    bool follows_master_ = false;
    uint32_t taken_since_unmap_ = 0;
    std::vector<bool> marked_;  // while adopting
};

}  // namespace tcpd::slot
