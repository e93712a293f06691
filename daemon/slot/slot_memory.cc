#include "daemon/slot/slot_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/base/process.h"

namespace tcpd::slot {

namespace {

constexpr uint64_t kGuardBytes = kPageBytes;  // between parts: a wild write that runs on meets one of these

uint64_t page_up(uint64_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

// Two large chunks and two small ones for each descriptor, on average: a connection over its water mark holds
// at most output_high and one receive more, and a frame that is gathered one chunk. Address space only; a
// part takes no page until it is used.
Header plan(const SlotSizes& sizes) {
    Header h{};
    std::memcpy(h.magic, kMagic, sizeof h.magic);
    h.format = kFormat;
    h.header_bytes = sizeof(Header);
    h.slot_number = sizes.slot_number;
    h.record_count = sizes.record_count;
    h.record_bytes = sizeof(Record);
    h.small_count = 2 * sizes.record_count;
    h.large_count = 2 * sizes.record_count;
    h.small_bytes = kSmallChunkBytes;
    h.large_bytes = kLargeChunkBytes;
    h.log_ring_bytes = kLogRingBytes;
    uint64_t at = kPageBytes;
    auto part = [&at](uint64_t bytes) {
        const uint64_t begin = at;
        at += page_up(bytes) + kGuardBytes;
        return begin;
    };
    h.master_control_at = part(sizeof(MasterControl));
    h.worker_control_at = part(sizeof(WorkerControl));
    h.scoreboard_at = part(sizeof(Scoreboard));
    h.journal_at = part(sizeof(JournalPage));
    h.log_ring_at = part(sizeof(LogRing) + kLogRingBytes);
    h.records_at = part(uint64_t{h.record_count} * sizeof(Record));
    h.sessions_at = part(uint64_t{h.record_count} * sizeof(SessionRecord));
    h.chunk_links_at = part((uint64_t{h.small_count} + h.large_count + 1) * sizeof(ChunkLink));
    h.small_chunks_at = part(uint64_t{h.small_count} * kSmallChunkBytes);
    h.large_chunks_at = part(uint64_t{h.large_count} * kLargeChunkBytes);
    h.slot_bytes = at;
    return h;
}

Error bad_memory(std::string reason) {
    return {ErrorCode::bad_format,
            "adopt slot memory",
            "",
            0,
            std::move(reason),
            "it was made by another release; start tcpd anew"};
}

// The plan follows from two numbers, so a header is right if it is the plan of those.
Result<void> check(const Header& found, uint64_t file_bytes) {
    if (std::memcmp(found.magic, kMagic, sizeof kMagic) != 0) return bad_memory("the magic number is wrong");
    if (found.format != kFormat) {
        return bad_memory(fmt::format("its format is {}, this tcpd knows {}", found.format, kFormat));
    }
    if (found.record_count == 0 || found.record_count > 1'048'576 || found.slot_number >= kMaxSlots) {
        return bad_memory(
            fmt::format("it counts {} records in slot {}", found.record_count, found.slot_number));
    }
    const Header expected = plan({found.slot_number, found.record_count});
    if (std::memcmp(&found, &expected, sizeof expected) != 0) return bad_memory("its parts lie elsewhere");
    if (found.slot_bytes != file_bytes) {
        return bad_memory(fmt::format("it has {} bytes, its header says {}", file_bytes, found.slot_bytes));
    }
    return {};
}

Result<void> write_header(int fd, const Header& header) {
    if (pwrite(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
        return system_error(errno, "write the header of slot memory");
    }
    return {};
}

// Lets nothing but the parts themselves be touched.
void protect_guards(char* base, const Header& h) {
    for (uint64_t next :
         {h.worker_control_at, h.scoreboard_at, h.journal_at, h.log_ring_at, h.records_at, h.sessions_at,
          h.chunk_links_at, h.small_chunks_at, h.large_chunks_at, h.slot_bytes}) {
        mprotect(base + next - kGuardBytes, kGuardBytes, PROT_NONE);
    }
}

}  // namespace

Result<UniqueFd> SlotMemory::create(const SlotSizes& sizes) {
    const std::string name = fmt::format("tcpd-slot-{}", sizes.slot_number);
    const Header header = plan(sizes);
    UniqueFd memory = make_sealed_memfd(name, header.slot_bytes);
    if (!memory) return system_error(errno, "make the memory of slot", std::to_string(sizes.slot_number));
    if (auto written = write_header(memory.get(), header); !written) return std::move(written.error());
    return memory;
}

Result<SlotMemory> SlotMemory::map(int fd, Access access) {
    struct stat status {};
    if (fstat(fd, &status) != 0) return system_error(errno, "look at slot memory");
    Header header;
    if (pread(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
        return bad_memory("it is too short for a header");
    }
    const auto bytes = static_cast<uint64_t>(status.st_size);
    if (auto fine = check(header, bytes); !fine) return std::move(fine.error());
    const int protection = access == Access::worker ? PROT_READ | PROT_WRITE : PROT_READ;
    void* base = mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) return system_error(errno, "map slot memory");
    SlotMemory memory(static_cast<char*>(base), bytes);
    memory.offsets_ = {header.master_control_at, header.worker_control_at, header.scoreboard_at,
                       header.journal_at,        header.log_ring_at,       header.records_at,
                       header.sessions_at,       header.chunk_links_at,    header.small_chunks_at,
                       header.large_chunks_at};
    memory.record_count_ = header.record_count;
    if (access == Access::master) {
        if (mprotect(memory.base_ + header.master_control_at, page_up(sizeof(MasterControl)),
                     PROT_READ | PROT_WRITE) != 0) {
            return system_error(errno, "map the master's part of slot memory");
        }
    } else {
        protect_guards(memory.base_, header);
    }
    madvise(base, bytes, MADV_DONTDUMP);
    return memory;
}

// Only a matter of time, so it may fail: MADV_POPULATE_WRITE came with Linux 5.14. It changes no byte.
void SlotMemory::map_ahead(uint32_t count) const {
    constexpr int kPopulateWrite = 23;
    const uint64_t bytes = page_up(std::min(count, record_count_) * sizeof(Record));
    if (bytes > 0) madvise(base_ + offsets_.records, bytes, kPopulateWrite);
    // A hypervisor may have tables of its own, which only a use fills.
    for (uint64_t at = 0; at < bytes; at += kPageBytes) {
        (void)*static_cast<const volatile char*>(base_ + offsets_.records + at);
    }
}

SlotMemory::SlotMemory(SlotMemory&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      bytes_(other.bytes_),
      offsets_(other.offsets_),
      record_count_(other.record_count_) {}

SlotMemory::~SlotMemory() {
    if (base_ != nullptr) munmap(base_, bytes_);
}

}  // namespace tcpd::slot
