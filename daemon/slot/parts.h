#pragma once

// The directory that a memory of a slot begins with: which parts it has, what an element of each takes, and where they
// lie. So a program adopts what another version made: it finds the parts that it knows and leaves the others alone.
// Behind the last part lies a hole, from which whoever knows more parts than the memory has carves them. Written by
// the master when it makes the memory; from then on by the holder of the seat alone, who only ever adds. Read by
// everybody, trusted by nobody: `find_fault` comes first.
//
//   rule         a part keeps kind, element size and place for as long as the memory lives; what an element says
//                grows into its spare words; what needs more is a new part
//   carving      the range is emptied (a predecessor may have died in it), the entry filled, then `count` stored
//   level        of a program: counted up with each landed change of what may stand in slot memory, a part, a state,
//                a flag, a meaning. Record::needs says which one a connection's words need
//
// Source: fcntl(2) "File Sealing", fallocate(2) FALLOC_FL_PUNCH_HOLE.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace tcpd::slot {

inline constexpr uint32_t kPageBytes = 4096;
inline constexpr uint32_t kMaxParts = 64;
// Of this program. TCPD_TRIAL_LEVEL builds one that knows more, for tests of the way there and back.
#ifdef TCPD_TRIAL_LEVEL
inline constexpr uint8_t kLevel = 2;
#else
inline constexpr uint8_t kLevel = 1;
#endif
// What a level brought, in a word: for a program of a lower one, which is told why it can't take a slot.
const char* name_of_level(uint8_t level);

// Numbers are part of the format: append only.
enum class PartKind : uint32_t {
    none = 0,
    // of the board
    master_control = 1,
    listener_names = 2,
    upstream_names = 3,
    worker_control = 4,
    slot_counters = 5,
    listener_counters = 6,
    upstream_counters = 7,
    journal = 8,
    records = 9,
    sessions = 10,
    requests = 11,
    level_names = 12,
    trial = 31,
    // of the buffers
    log_ring = 32,
    chunk_links = 33,
    small_chunks = 34,
    large_chunks = 35,
};

struct Part {
    PartKind kind = PartKind::none;
    uint32_t level = kLevel;  // of the program that made it
    uint64_t element_bytes = 0;
    uint64_t count = 0;
    uint64_t at = 0;  // bytes from the begin of the memory; whole pages
};
static_assert(sizeof(Part) == 32);

// The first page of a memory.
struct PartsHeader {
    char magic[8];
    uint32_t format;
    uint32_t slot_number;
    uint32_t record_count;  // index = descriptor
    uint32_t part_count;    // atomic; stored behind the entry that it counts
    uint64_t bytes;         // of the whole memory, hole included
    uint64_t birth;         // of both memories of a slot: the monotonic time at which they were made
    uint64_t spare[3];
    Part parts[kMaxParts];
};
static_assert(sizeof(PartsHeader) <= kPageBytes);

// Where the parts lie, copied from the header once it was checked: the header may change under us.
class Parts {
public:
    // Why it can't be believed: bounds, order, one kind twice. Empty: it can.
    static std::string find_fault(const PartsHeader& header, uint64_t file_bytes);

    explicit Parts(const PartsHeader& header);
    Parts() = default;
    // What does not fit what a program has itself: another size, or one missing that every memory has had from the
    // first level on. Empty: nothing.
    std::string fault_against(std::span<const Part> own) const;
    const Part* find(PartKind kind) const;
    std::span<const Part> all() const { return {parts_, count_}; }
    // One behind the last part and its guard page: the hole begins there.
    uint64_t end() const;
    // Where it would come, behind what there is; none: the memory, or its directory, has no room.
    std::optional<Part> place(Part wanted, uint64_t memory_bytes) const;
    void add(const Part& part) { parts_[count_++] = part; }

private:
    Part parts_[kMaxParts];
    uint32_t count_ = 0;
};

// Whole pages.
constexpr uint64_t page_up(uint64_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }
constexpr uint64_t bytes_of(const Part& part) { return page_up(part.element_bytes * part.count); }

}  // namespace tcpd::slot
