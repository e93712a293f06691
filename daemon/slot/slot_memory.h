#pragma once

// A slot's memory as this process maps it. Owns the mapping, not the memfd. The master creates it and maps it
// `read_only` (MasterControl excepted); images map it for writing.
// Source: memfd_create(2), mmap(2).

#include <algorithm>
#include <cstdint>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/layout.h"

namespace tcpd::slot {

// How far behind the last record there may be descriptors of connections, opened when no record was written
// yet.
inline constexpr uint32_t kUnrecordedDescriptors = 64;

struct SlotSizes {
    uint32_t slot_number = 0;
    uint32_t record_count = 0;  // the descriptor limit
};

class SlotMemory {
public:
    enum class Access { worker, master };

    // A sealed memfd with its header written; MFD_NOEXEC_SEAL where the kernel knows it.
    static Result<UniqueFd> create(const SlotSizes& sizes);
    // Checks magic, format, every size and offset against the file's size: bad_format names the first that is
    // wrong.
    static Result<SlotMemory> map(int fd, Access access);

    SlotMemory(SlotMemory&& other) noexcept;
    SlotMemory& operator=(SlotMemory&&) = delete;
    ~SlotMemory();

    const Header& header() const { return *at<Header>(0); }
    MasterControl& master_control() { return *at<MasterControl>(offsets_.master_control); }
    WorkerControl& worker_control() { return *at<WorkerControl>(offsets_.worker_control); }
    Scoreboard& scoreboard() { return *at<Scoreboard>(offsets_.scoreboard); }
    JournalPage& journal() { return *at<JournalPage>(offsets_.journal); }
    LogRing& log_ring() { return *at<LogRing>(offsets_.log_ring); }
    Record* records() { return at<Record>(offsets_.records); }
    SessionRecord* sessions() { return at<SessionRecord>(offsets_.sessions); }
    uint32_t record_count() const { return record_count_; }
    // One behind the last record that was ever used, or `beyond` more, but never behind the table.
    uint32_t end_of_records(uint32_t beyond = 0) {
        const uint32_t high = worker_control().high_fd.load(std::memory_order_relaxed);
        return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{high} + beyond, record_count_));
    }
    // Has the kernel map the first `count` of them now rather than one page after the other when they are
    // used.
    void map_ahead(uint32_t count) const;
    ChunkLink* chunk_links() { return at<ChunkLink>(offsets_.chunk_links); }
    char* small_chunks() { return at<char>(offsets_.small_chunks); }
    char* large_chunks() { return at<char>(offsets_.large_chunks); }
    char* base() { return base_; }
    uint64_t bytes() const { return bytes_; }
    uint64_t offset_of(const void* field) const {
        return static_cast<uint64_t>(static_cast<const char*>(field) - base_);
    }

private:
    // Copied from the header once checked: the file's own may change under us.
    struct Offsets {
        uint64_t master_control, worker_control, scoreboard, journal, log_ring, records, sessions,
            chunk_links, small_chunks, large_chunks;
    };
    SlotMemory(char* base, uint64_t bytes) : base_(base), bytes_(bytes) {}
    template <typename T>
    T* at(uint64_t offset) const {
        return reinterpret_cast<T*>(base_ + offset);
    }
    char* base_ = nullptr;
    uint64_t bytes_ = 0;
    Offsets offsets_{};
    uint32_t record_count_ = 0;
};

}  // namespace tcpd::slot
