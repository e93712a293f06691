#include "master/memory_budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/base/text.h"
#include "daemon/slot/record.h"
#include "daemon/slot/session_record.h"

namespace tcpd::master {

namespace {

constexpr uint64_t kMiB = 1024 * 1024;
constexpr uint64_t kLeastTotal = kMiB;  // as little as the file may say
// Measured: 1.7 MiB for master and page tables, 0.9 MiB for a worker with its standby. At a renewal one slot
// after the other has two images for a moment.
constexpr uint64_t kMasterBytes = 2 * kMiB, kImageBytes = 2 * kMiB;
constexpr uint64_t kRecordBytes = sizeof(slot::Record) + sizeof(slot::SessionRecord);
// Of the limit: as many connections as the group could have at all.
constexpr uint64_t kBytesOfAConnection = 16 * 1024;

// What one takes that does not read when buffers are full: 4 KiB of them, and up to 4 KiB in the kernel.
constexpr uint64_t kBytesOfAStuckConnection = 8 * 1024;

uint64_t needed_bytes(uint64_t limit, const MemoryNeeds& needs) {
    const uint64_t workers = std::max(needs.workers, 1U);
    const uint64_t records = std::min(needs.descriptor_limit, limit / kBytesOfAConnection / workers);
    return kMasterBytes + workers * (kImageBytes + records * kRecordBytes);
}

// In thousandths of the memory that the kernel looks at when it picks: above what a master may have more than a
// worker, which is a few MiB; no more, since what runs beside tcpd and eats memory is to go first.
int oom_raise(const std::optional<MemoryLimit>& limit, const MemoryNeeds& needs) {
    constexpr uint64_t kHeadStart = 6 * kMiB;
    uint64_t bytes = needs.machine_bytes != 0 ? needs.machine_bytes : ~uint64_t{0};
    if (limit) bytes = std::min(bytes, std::max<uint64_t>(limit->bytes, 1));
    return static_cast<int>(std::clamp<uint64_t>(kHeadStart * 1000 / bytes, 20, 800));
}

std::string in_mib(uint64_t bytes) { return fmt::format("{}MiB", bytes / kMiB); }

std::string workers_text(unsigned workers) {
    return workers == 1 ? "1 worker" : fmt::format("{} workers", workers);
}

uint64_t stuck_connections(uint64_t limit, uint64_t taken) {
    return limit > taken ? (limit - taken) / kBytesOfAStuckConnection / 100 * 100 : 0;
}

MemoryBudget automatic(const MemoryLimit& limit, const MemoryNeeds& needs) {
    const uint64_t share = limit.bytes / 10 * 6;
    const uint64_t needed = needed_bytes(limit.bytes, needs);
    const uint64_t left = share > needed ? (share - needed) / kMiB * kMiB : 0;
    MemoryBudget budget;
    budget.total_bytes = std::max(left, kLeastTotal);
    budget.text = fmt::format(
        "buffers may take {} (memory.total: auto): 60 % of the {} that control group {} allows, "
        "less {} for {}; the rest is enough for {} connections that do not read (limits.connections)",
        in_mib(budget.total_bytes), in_mib(limit.bytes), quoted(limit.folder), in_mib(needed + kMiB - 1),
        workers_text(needs.workers), stuck_connections(limit.bytes, needed + budget.total_bytes));
    if (left < kLeastTotal) {
        budget.warning = fmt::format(
            "control group {} allows {}, which leaves nothing for buffers: 60 % of it is {}, and {} need {}; "
            "they get {} all the same (raise its limit, or set workers lower)",
            quoted(limit.folder), format_size(limit.bytes), in_mib(share), workers_text(needs.workers),
            in_mib(needed + kMiB - 1), in_mib(kLeastTotal));
    }
    return budget;
}

MemoryBudget make_total(const conf::Memory& wanted, const std::optional<MemoryLimit>& limit,
                        const MemoryNeeds& needs) {
    if (!wanted.total_bytes && limit) return automatic(*limit, needs);
    MemoryBudget budget;
    budget.total_bytes = wanted.total_bytes.value_or(0);
    if (!wanted.total_bytes) {
        budget.text = "buffers have no limit (memory.total: auto): no control group limits memory";
        return budget;
    }
    budget.text = budget.total_bytes == 0
                      ? "buffers have no limit (memory.total: 0)"
                      : fmt::format("buffers may take {} (memory.total)", format_size(budget.total_bytes));
    if (!limit) return budget;
    const uint64_t most = automatic(*limit, needs).total_bytes;
    if (budget.total_bytes == 0 || budget.total_bytes > most) {
        budget.warning = fmt::format(
            "{}, but control group {} allows {} in all: the kernel may kill tcpd when clients do not read "
            "(leave memory.total out, which is {} here)",
            budget.text, quoted(limit->folder), in_mib(limit->bytes), in_mib(most));
    }
    return budget;
}

}  // namespace

MemoryBudget make_memory_budget(const conf::Memory& wanted, const std::optional<MemoryLimit>& limit,
                                const MemoryNeeds& needs) {
    MemoryBudget budget = make_total(wanted, limit, needs);
    budget.worker_oom_raise = oom_raise(limit, needs);
    return budget;
}

}  // namespace tcpd::master
