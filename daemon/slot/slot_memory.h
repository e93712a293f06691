#pragma once

// A slot's memory as this process maps it: board and buffers one behind the other, in one range of addresses. Owns the
// mapping, not the memfds. The master creates both and maps the board, read-only but for what it writes; images map all
// for writing. Source: memfd_create(2), mmap(2).

#include <algorithm>
#include <cstdint>
#include <string>

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

struct SlotFds {
    UniqueFd board, buffers;
};

// What the parts of this program take: at most so much, and so much for each record.
struct PlanBytes {
    uint64_t fixed = 0, each = 0;
    uint64_t of(uint64_t records) const { return fixed + each * records; }
};

// What a program must know to take a slot: the highest level that anything in it needs, and its name, quoted.
struct Needed {
    uint32_t level = 0;
    std::string name;
};

class SlotMemory {
public:
    // Sealed memfds with their headers written; MFD_NOEXEC_SEAL where the kernel knows it.
    static Result<SlotFds> create(const SlotSizes& sizes);
    // For the master: the board alone. `buffers`: for an image. Magic, format, every size and offset are checked
    // against the files' sizes: bad_format names the first that is wrong.
    static Result<SlotMemory> map_board(int board);
    static Result<SlotMemory> map(int board, int buffers);

    static PlanBytes board_plan();
    static PlanBytes buffers_plan();

    SlotMemory(SlotMemory&& other) noexcept;
    SlotMemory& operator=(SlotMemory&&) = delete;
    ~SlotMemory();

    uint32_t slot_number() const { return slot_number_; }
    uint32_t record_count() const { return record_count_; }
    uint64_t board_bytes() const { return board_bytes_; }
    MasterControl& master_control() { return *at<MasterControl>(at_.master_control); }
    Name& listener_name(uint32_t id) { return at<Name>(at_.listener_names)[id]; }
    WorkerControl& worker_control() { return *at<WorkerControl>(at_.worker_control); }
    SlotCounters& counters() { return *at<SlotCounters>(at_.slot_counters); }
    ListenerCounters& counters_of(uint32_t listener) {
        return at<ListenerCounters>(at_.listener_counters)[listener];
    }
    JournalPage& journal() { return *at<JournalPage>(at_.journal); }
    Record* records() { return at<Record>(at_.records); }
    SessionRecord* sessions() { return at<SessionRecord>(at_.sessions); }
    // One behind the last record that was ever used, or `beyond` more, but never behind the table.
    uint32_t end_of_records(uint32_t beyond = 0) {
        const uint32_t high = worker_control().high_fd.load(std::memory_order_relaxed);
        return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{high} + beyond, record_count_));
    }
    // Has the kernel map the first `count` of them now rather than one page after the other when they are
    // used.
    void map_ahead(uint32_t count) const;

    // Of images only.
    LogRing& log_ring() { return *at<LogRing>(at_.log_ring); }
    ChunkLink* chunk_links() { return at<ChunkLink>(at_.chunk_links); }
    char* small_chunks() { return at<char>(at_.small_chunks); }
    char* large_chunks() { return at<char>(at_.large_chunks); }
    uint32_t chunks_of_a_size() const { return 2 * record_count_; }

    char* base() { return base_; }
    uint64_t bytes() const { return bytes_; }
    uint64_t offset_of(const void* field) const {
        return static_cast<uint64_t>(static_cast<const char*>(field) - base_);
    }
    // As the buffers' own descriptor has it.
    uint64_t offset_in_buffers(const void* field) const { return offset_of(field) - board_bytes_; }
    // A whole word of what a step may change together with others.
    bool may_change(uint64_t offset) const;

    // Something that needs `level` is about to be stored.
    void raise_needs(uint8_t level) {
        auto& needs = worker_control().needs;
        if (needs.load(std::memory_order_relaxed) < level) needs.store(level, std::memory_order_release);
    }
    Needed needed() const;

    // Finds the parts that the memory has by now, and adds those that this program has more. For the holder of the
    // seat, once its image is in service for good and before it looks at a record; descriptors as for `map`.
    Result<void> carve(int board, int buffers);

private:
    struct Offsets {
        uint64_t master_control, listener_names, level_names, worker_control, slot_counters,
            listener_counters, journal, records, sessions, log_ring, chunk_links, small_chunks, large_chunks;
    };
    SlotMemory(char* base, uint64_t bytes) : base_(base), bytes_(bytes) {}
    template <typename T>
    T* at(uint64_t offset) const {
        return reinterpret_cast<T*>(base_ + offset);
    }
    void take(const PartsHeader& board);
    void find_parts();
    void protect() const;
    char* base_ = nullptr;
    uint64_t bytes_ = 0, board_bytes_ = 0;
    Parts board_, buffers_;
    Offsets at_{};
    uint32_t slot_number_ = 0, record_count_ = 0;
};

}  // namespace tcpd::slot
