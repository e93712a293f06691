#pragma once

// How much memory control groups leave to this process: version 2 (memory.max) and version 1
// (memory.limit_in_bytes), at all levels from its own group up to the root, or to what is mounted. Pure but for the
// files below the mount points; master only, for `memory.total: auto`. Source: cgroups(7), proc(5) "mountinfo",
// the kernel's cgroup-v2.rst "memory.max", cgroup-v1/memory.rst.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tcpd {

struct MemoryLimit {
    uint64_t bytes = 0;
    std::string folder;  // of the group that sets it
};

// `membership`: the text of /proc/self/cgroup. `mounts`: of /proc/self/mountinfo. `root`: stands before each
// mount point. The least limit; nothing where there is none.
std::optional<MemoryLimit> memory_limit(std::string_view membership, std::string_view mounts,
                                        const std::string& root = "");
// Of this process, as it is now.
std::optional<MemoryLimit> own_memory_limit();
// Bytes that the machine has.
uint64_t machine_memory();

}  // namespace tcpd
