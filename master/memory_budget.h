#pragma once

// What `memory.total` comes to: as the file says, or, if that is auto, 60 % of what control groups allow, less what
// tables and images need. The rest is for the kernel's socket buffers, for what each connection takes beside its
// chunks, and for whatever else runs in the group. Pure; master only, at the start and whenever the configuration or
// the number of workers changes.

#include <cstdint>
#include <optional>
#include <string>

#include "conf/config.h"
#include "daemon/base/memory_limit.h"

namespace tcpd::master {

struct MemoryNeeds {
    unsigned workers = 1;
    uint64_t descriptor_limit = 0;  // records in each one's table
    uint64_t machine_bytes = 0;     // of memory
};

struct MemoryBudget {
    uint64_t total_bytes = 0;  // in force; 0: no limit
    std::string text;          // one line: how it comes about
    std::string warning;       // empty: none
    int worker_oom_raise = 0;  // oom_score_adj of a worker above the master's
};

MemoryBudget make_memory_budget(const conf::Memory& wanted, const std::optional<MemoryLimit>& limit,
                                const MemoryNeeds& needs);

}  // namespace tcpd::master
