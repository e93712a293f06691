#include "daemon/slot/chunk_pool.h"

#include <fcntl.h>
#include <sys/mman.h>

namespace tcpd::slot {

namespace {
constexpr uint32_t kKeepSmall = 1024;  // 4 MiB of each size stay with the slot when they are free
constexpr uint32_t kKeepLarge = 64;
constexpr uint64_t kKeptShare = 16;    // of a budget for all, for each size of all slots together
constexpr uint32_t kLeastMapped = 32;  // chunks, where there is a budget for all
constexpr uint32_t kMappedShare = 8;   // of all chunks that were ever in use
}  // namespace

ChunkPool::ChunkPool(SlotMemory& memory, int buffers_fd, SharedCounts& counts)
    : memory_(memory),
      buffers_fd_(buffers_fd),
      links_(memory.chunk_links()),
      counts_(counts),
      used_(counts.buffer_bytes(memory.slot_number())) {
    WorkerControl& control = memory.worker_control();
    const uint32_t count = memory.chunks_of_a_size();
    small_ = {1, count, kSmallChunkBytes, kKeepSmall, memory.small_chunks(), &control.small_high, {}, {}};
    large_ = {1 + count, count, kLargeChunkBytes, kKeepLarge, memory.large_chunks(), &control.large_high,
              {},        {}};
}

void ChunkPool::set_budgets(uint64_t own_bytes, std::optional<uint64_t> total_bytes) {
    own_budget_ = own_bytes;
    follows_master_ = !total_bytes;
    set_total(total_bytes ? *total_bytes : counts_.auto_total_bytes().load(std::memory_order_relaxed));
    look_at_others();
}

// What is kept free is in no budget, so it is to be little beside it.
void ChunkPool::set_total(uint64_t bytes) {
    total_budget_ = bytes;
    const uint64_t slots = std::clamp(counts_.slots().load(std::memory_order_relaxed), 1U, kMaxSlots);
    const uint64_t share = bytes == 0 ? ~uint64_t{0} : bytes / kKeptShare / slots;
    small_.keep = static_cast<uint32_t>(std::clamp<uint64_t>(share / kSmallChunkBytes, 1, kKeepSmall));
    large_.keep = static_cast<uint32_t>(std::clamp<uint64_t>(share / kLargeChunkBytes, 1, kKeepLarge));
    give_back(small_);
    give_back(large_);
}

void ChunkPool::give_back(Size& size) {
    for (; size.backed.size() > size.keep; size.backed.pop_back()) make_bare(size, size.backed.back());
}

void ChunkPool::make_bare(Size& size, ChunkId id) {
    change_backing(size, id, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    size.bare.push_back(id);
}

ChunkId ChunkPool::take(Size& size) {
    if (size.backed.empty() && !stock(size)) return 0;
    const ChunkId id = size.backed.back();
    size.backed.pop_back();
    links_[id] = {0, 0};
    add_used(size.chunk_bytes);
    if (total_budget_ != 0) {
        look_at_others();  // many may be taken in a round, by each slot
        unmap_now_and_then();
    }
    return id;
}

// What is mapped counts as this process's when the kernel looks for one to kill, though its death would free none of
// it. Nothing is lost: a page is mapped again when it is touched. The kernel walks all that was ever in use, so the
// more that is, the rarer.
void ChunkPool::unmap_now_and_then() {
    const uint32_t in_large = high_of(small_) / (kLargeChunkBytes / kSmallChunkBytes) + high_of(large_);
    if (++taken_since_unmap_ < std::max(kLeastMapped, in_large / kMappedShare)) return;
    taken_since_unmap_ = 0;
    for (const Size* size : {&small_, &large_})
        madvise(size->base, uint64_t{high_of(*size)} * size->chunk_bytes, MADV_DONTNEED);
}

uint32_t ChunkPool::high_of(const Size& size) {
    return std::min(size.high->load(std::memory_order_relaxed), size.count);
}

bool ChunkPool::stock(Size& size) {
    ChunkId id = 0;
    const uint32_t high = size.high->load(std::memory_order_relaxed);
    if (!size.bare.empty()) {
        id = size.bare.back();
    } else if (high < size.count) {
        id = size.first + high;
    } else {
        return false;
    }
    if (!change_backing(size, id, 0)) return false;
    if (size.bare.empty()) {
        size.high->store(high + 1, std::memory_order_relaxed);
    } else {
        size.bare.pop_back();
    }
    size.backed.push_back(id);
    return true;
}

void ChunkPool::release(ChunkId id) {
    Size& size = size_of(id);
    add_used(-uint64_t{size.chunk_bytes});
    if (size.backed.size() < size.keep) {
        size.backed.push_back(id);
        return;
    }
    make_bare(size, id);
}

bool ChunkPool::change_backing(const Size& size, ChunkId id, int mode) {
    const auto at = static_cast<off_t>(memory_.offset_in_buffers(data(id)));
    return fallocate(buffers_fd_, mode, at, size.chunk_bytes) == 0;
}

bool ChunkPool::mark_used(ChunkId id) {
    if (marked_.empty()) marked_.resize(uint64_t{small_.count} + large_.count + 1);
    if (marked_[id]) return false;
    marked_[id] = true;
    return true;
}

void ChunkPool::rebuild() {
    used_.store(0, std::memory_order_relaxed);
    rebuild(small_);
    rebuild(large_);
    marked_ = {};
}

void ChunkPool::rebuild(Size& size) {
    size.backed.clear();
    size.bare.clear();
    const uint32_t high = high_of(size);
    size.high->store(high, std::memory_order_relaxed);
    for (uint32_t i = 0; i < high; ++i) {
        const ChunkId id = size.first + i;
        if (marked_.empty() || !marked_[id]) {
            size.bare.push_back(id);
        } else {
            add_used(size.chunk_bytes);
        }
    }
}

}  // namespace tcpd::slot
