#include "daemon/slot/slot_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/process.h"
#include "daemon/base/text.h"

namespace tcpd::slot {

namespace {

using Plan = std::vector<Part>;

// What later versions may carve their parts from. Address space only.
uint64_t board_hole(uint64_t records) { return 1024 * records + 16 * 1024 * 1024; }
uint64_t buffers_hole(uint64_t records) { return 8192 * records + 64 * 1024 * 1024; }

Plan plan_board(uint64_t records) {
    return {
        {PartKind::master_control, 1, sizeof(MasterControl), 1},
        {PartKind::listener_names, 1, sizeof(Name), kMaxListeners},
        {PartKind::upstream_names, 1, sizeof(Name), kMaxUpstreams},
        {PartKind::worker_control, 1, sizeof(WorkerControl), 1},
        {PartKind::slot_counters, 1, sizeof(SlotCounters), 1},
        {PartKind::listener_counters, 1, sizeof(ListenerCounters), kMaxListeners},
        {PartKind::upstream_counters, 1, sizeof(UpstreamCounters), kMaxUpstreams},
        {PartKind::journal, 1, sizeof(JournalPage), 1},
        {PartKind::records, 1, sizeof(Record), records},
        {PartKind::sessions, 1, sizeof(SessionRecord), records},
        {PartKind::requests, 1, sizeof(Request), std::max<uint64_t>(2 * records, kLeastRequests)},
        {PartKind::level_names, 1, sizeof(Name), 256},
#ifdef TCPD_TRIAL_LEVEL
        {PartKind::trial, 2, 64, records},
#endif
    };
}

// Two large chunks and two small ones for each descriptor, on average: a connection over its water mark holds
// at most output_high and one receive more, and a frame that is gathered one chunk. Address space only; a
// part takes no page until it is used.
Plan plan_buffers(uint64_t records) {
    return {{PartKind::log_ring, 1, sizeof(LogRing) + kLogRingBytes, 1},
            {PartKind::chunk_links, 1, sizeof(ChunkLink), 4 * records + 1},
            {PartKind::small_chunks, 1, kSmallChunkBytes, 2 * records},
            {PartKind::large_chunks, 1, kLargeChunkBytes, 2 * records}};
}

Error bad_memory(std::string reason) {
    return {ErrorCode::bad_format,
            "adopt slot memory",
            "",
            0,
            std::move(reason),
            "it was made by another release; start tcpd anew"};
}

PartsHeader make_header(const SlotSizes& sizes, const Plan& plan, uint64_t hole, uint64_t birth) {
    PartsHeader header{};
    std::memcpy(header.magic, kMagic, sizeof header.magic);
    header.format = kFormat;
    header.slot_number = sizes.slot_number;
    header.record_count = sizes.record_count;
    header.birth = birth;
    Parts parts;
    for (const Part& wanted : plan) parts.add(*parts.place(wanted, ~uint64_t{0}));
    std::copy(parts.all().begin(), parts.all().end(), header.parts);
    header.part_count = static_cast<uint32_t>(parts.all().size());
    header.bytes = parts.end() + page_up(hole);
    return header;
}

Result<UniqueFd> create_memory(const std::string& name, const PartsHeader& header) {
    UniqueFd memory = make_sealed_memfd(name, header.bytes);
    if (!memory) return system_error(errno, "make the memory of slot", std::to_string(header.slot_number));
    if (pwrite(memory.get(), &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header))
        return system_error(errno, "write the header of slot memory");
    return memory;
}

std::string fault_of(const PartsHeader& header, uint64_t file_bytes) {
    if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return "the magic number is wrong";
    if (header.format != kFormat)
        return fmt::format("its format is {}, this tcpd knows {}", header.format, kFormat);
    if (header.record_count == 0 || header.record_count > 1'048'576 || header.slot_number >= kMaxSlots)
        return fmt::format("it counts {} records in slot {}", header.record_count, header.slot_number);
    return Parts::find_fault(header, file_bytes);
}

// The directory and what it says of parts that are known.
std::string fault_of(const PartsHeader& header, uint64_t file_bytes, Plan (*plan)(uint64_t)) {
    if (std::string fault = fault_of(header, file_bytes); !fault.empty()) return fault;
    return Parts(header).fault_against(plan(header.record_count));
}

Result<void> read_header(int fd, PartsHeader& header, Plan (*plan)(uint64_t)) {
    struct stat status {};
    if (fstat(fd, &status) != 0) return system_error(errno, "look at slot memory");
    if (pread(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header))
        return bad_memory("it is too short for a header");
    if (std::string fault = fault_of(header, static_cast<uint64_t>(status.st_size), plan); !fault.empty())
        return bad_memory(std::move(fault));
    return {};
}

}  // namespace

namespace {

PlanBytes bytes_of_plan(Plan (*plan)(uint64_t)) {
    constexpr uint64_t kOne = 1024, kTwo = 2048;  // above what the least number of requests bends
    uint64_t at_one = kPageBytes, at_two = kPageBytes;
    for (const Part& part : plan(kLeastRequests * kOne))
        at_one += part.element_bytes * part.count + 2 * kPageBytes;
    for (const Part& part : plan(kLeastRequests * kTwo))
        at_two += part.element_bytes * part.count + 2 * kPageBytes;
    const uint64_t each = (at_two - at_one) / (kLeastRequests * (kTwo - kOne));
    return {at_one - each * kLeastRequests * kOne + kLeastRequests * sizeof(Request), each};
}

}  // namespace

PlanBytes SlotMemory::board_plan() { return bytes_of_plan(plan_board); }
PlanBytes SlotMemory::buffers_plan() { return bytes_of_plan(plan_buffers); }

Result<SlotFds> SlotMemory::create(const SlotSizes& sizes) {
    const std::string name = fmt::format("tcpd-slot-{}", sizes.slot_number);
    const uint64_t birth = monotonic_ns(), records = sizes.record_count;
    auto board = create_memory(name, make_header(sizes, plan_board(records), board_hole(records), birth));
    if (!board) return std::move(board.error());
    auto buffers = create_memory(name + "-buffers",
                                 make_header(sizes, plan_buffers(records), buffers_hole(records), birth));
    if (!buffers) return std::move(buffers.error());
    return SlotFds{std::move(*board), std::move(*buffers)};
}

Result<SlotMemory> SlotMemory::map_board(int board) {
    PartsHeader header;
    if (auto fine = read_header(board, header, plan_board); !fine) return std::move(fine.error());
    void* base = mmap(nullptr, header.bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, board, 0);
    if (base == MAP_FAILED) return system_error(errno, "map slot memory");
    SlotMemory memory(static_cast<char*>(base), header.bytes);
    memory.take(header);
    for (const PartKind kind :
         {PartKind::master_control, PartKind::listener_names, PartKind::upstream_names}) {
        const Part& part = *memory.board_.find(kind);
        if (mprotect(memory.base_ + part.at, bytes_of(part), PROT_READ | PROT_WRITE) != 0)
            return system_error(errno, "map the master's part of slot memory");
    }
    madvise(base, header.bytes, MADV_DONTDUMP);
    return memory;
}

Result<SlotMemory> SlotMemory::map(int board, int buffers) {
    PartsHeader first, second;
    if (auto fine = read_header(board, first, plan_board); !fine) return std::move(fine.error());
    if (auto fine = read_header(buffers, second, plan_buffers); !fine) return std::move(fine.error());
    if (first.birth != second.birth || first.record_count != second.record_count)
        return bad_memory("board and buffers are not of one slot");
    const uint64_t bytes = first.bytes + second.bytes;
    void* base = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return system_error(errno, "find room for slot memory");
    SlotMemory memory(static_cast<char*>(base), bytes);
    constexpr int kShared = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;
    if (mmap(memory.base_, first.bytes, PROT_READ | PROT_WRITE, kShared, board, 0) == MAP_FAILED ||
        mmap(memory.base_ + first.bytes, second.bytes, PROT_READ | PROT_WRITE, kShared, buffers, 0) ==
            MAP_FAILED)
        return system_error(errno, "map slot memory");
    memory.take(first);
    memory.buffers_ = Parts(second);
    memory.find_parts();
    memory.protect();
    madvise(base, bytes, MADV_DONTDUMP);
    return memory;
}

void SlotMemory::take(const PartsHeader& board) {
    slot_number_ = board.slot_number;
    record_count_ = board.record_count;
    board_bytes_ = board.bytes;
    board_ = Parts(board);
    find_parts();
}

void SlotMemory::find_parts() {
    const auto of = [](const Parts& parts, PartKind kind, uint64_t base) {
        const Part* part = parts.find(kind);
        return part == nullptr ? 0 : base + part->at;
    };
    const auto board = [&](PartKind kind) { return of(board_, kind, 0); };
    const auto buffers = [&](PartKind kind) { return of(buffers_, kind, board_bytes_); };
    at_ = {.master_control = board(PartKind::master_control),
           .listener_names = board(PartKind::listener_names),
           .level_names = board(PartKind::level_names),
           .worker_control = board(PartKind::worker_control),
           .slot_counters = board(PartKind::slot_counters),
           .listener_counters = board(PartKind::listener_counters),
           .journal = board(PartKind::journal),
           .records = board(PartKind::records),
           .sessions = board(PartKind::sessions),
           .log_ring = buffers(PartKind::log_ring),
           .chunk_links = buffers(PartKind::chunk_links),
           .small_chunks = buffers(PartKind::small_chunks),
           .large_chunks = buffers(PartKind::large_chunks)};
}

// Lets nothing but the parts themselves be touched.
void SlotMemory::protect() const {
    const auto close_gaps = [](char* base, const Parts& parts, uint64_t bytes) {
        uint64_t from = kPageBytes;
        for (const Part& part : parts.all()) {
            if (part.at > from) mprotect(base + from, part.at - from, PROT_NONE);
            mprotect(base + part.at, bytes_of(part), PROT_READ | PROT_WRITE);
            from = part.at + bytes_of(part);
        }
        if (bytes > from) mprotect(base + from, bytes - from, PROT_NONE);
    };
    close_gaps(base_, board_, board_bytes_);
    close_gaps(base_ + board_bytes_, buffers_, bytes_ - board_bytes_);
}

namespace {

// Adds what is missing to one memory; false: some part has no room.
bool carve_missing(PartsHeader& header, int fd, Parts& parts, const Plan& plan, uint64_t bytes) {
    for (const Part& wanted : plan) {
        if (parts.find(wanted.kind) != nullptr) continue;
        const auto part = parts.place(wanted, bytes);
        if (!part) return false;
        // A predecessor may have died in it.
        if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(part->at),
                      static_cast<off_t>(bytes_of(*part))) != 0)
            return false;
        const auto at = static_cast<uint32_t>(parts.all().size());
        header.parts[at] = *part;
        std::atomic_ref(header.part_count).store(at + 1, std::memory_order_release);
        parts.add(*part);
    }
    return true;
}

}  // namespace

Result<void> SlotMemory::carve(int board, int buffers) {
    PartsHeader found_board, found_buffers;
    if (auto fine = read_header(board, found_board, plan_board); !fine) return fine;
    if (auto fine = read_header(buffers, found_buffers, plan_buffers); !fine) return fine;
    const size_t known = board_.all().size() + buffers_.all().size();
    board_ = Parts(found_board);
    buffers_ = Parts(found_buffers);
    auto& first = *at<PartsHeader>(0);
    auto& second = *at<PartsHeader>(board_bytes_);
    const bool fits =
        carve_missing(first, board, board_, plan_board(record_count_), board_bytes_) &&
        carve_missing(second, buffers, buffers_, plan_buffers(record_count_), bytes_ - board_bytes_);
    if (board_.all().size() + buffers_.all().size() != known) {
        find_parts();
        protect();
    }
    for (uint32_t level = 1; level <= kLevel; ++level)
        std::strncpy(at<Name>(at_.level_names)[level].text, name_of_level(static_cast<uint8_t>(level)),
                     kMaxNameBytes);
    if (fits) return {};
    return Error{.code = ErrorCode::exhausted,
                 .doing = "add the parts that this version needs to slot memory",
                 .reason = "there is no room for them"};
}

Needed SlotMemory::needed() const {
    const uint32_t level = at<WorkerControl>(at_.worker_control)->needs.load(std::memory_order_acquire);
    const Name& name = at<Name>(at_.level_names)[level & 0xFF];
    return {level, quoted({name.text, strnlen(name.text, kMaxNameBytes)})};
}

bool SlotMemory::may_change(uint64_t offset) const {
    const auto inside = [offset](const Parts& parts, PartKind kind, uint64_t base) {
        const Part* part = parts.find(kind);
        return part != nullptr && offset >= base + part->at &&
               offset - base - part->at < part->element_bytes * part->count;
    };
    if (offset % sizeof(uint64_t) != 0) return false;
    for (const PartKind kind :
         {PartKind::records, PartKind::sessions, PartKind::requests, PartKind::slot_counters,
          PartKind::listener_counters, PartKind::upstream_counters, PartKind::worker_control}) {
        if (inside(board_, kind, 0)) return true;
    }
    return inside(buffers_, PartKind::chunk_links, board_bytes_) ||
           offset == at_.journal + offsetof(JournalPage, receive_chunk) ||
           offset == at_.journal + offsetof(JournalPage, handled_bytes);
}

// Only a matter of time, so it may fail: MADV_POPULATE_WRITE came with Linux 5.14. It changes no byte.
void SlotMemory::map_ahead(uint32_t count) const {
    constexpr int kPopulateWrite = 23;
    const uint64_t bytes = page_up(std::min(count, record_count_) * sizeof(Record));
    if (bytes > 0) madvise(base_ + at_.records, bytes, kPopulateWrite);
    // A hypervisor may have tables of its own, which only a use fills.
    for (uint64_t at = 0; at < bytes; at += kPageBytes) {
        (void)*static_cast<const volatile char*>(base_ + at_.records + at);
    }
}

SlotMemory::SlotMemory(SlotMemory&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      bytes_(other.bytes_),
      board_bytes_(other.board_bytes_),
      board_(other.board_),
      buffers_(other.buffers_),
      at_(other.at_),
      slot_number_(other.slot_number_),
      record_count_(other.record_count_) {}

SlotMemory::~SlotMemory() {
    if (base_ != nullptr) munmap(base_, bytes_);
}

}  // namespace tcpd::slot
