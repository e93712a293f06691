#pragma once

// How many CPUs a cgroup's quota leaves to this process: version 2 (cpu.max) and version 1
// (cpu.cfs_quota_us), over all levels from its own group up. Pure but for the files under `root`; every
// process, for `workers: auto`. Source: the kernel's cgroup-v2.rst "cpu.max", sched-bwc.rst, cgroups(7).

#include <optional>
#include <string>
#include <string_view>

namespace tcpd {

// `membership`: the text of /proc/self/cgroup. `root`: where the hierarchies are mounted, /sys/fs/cgroup.
// The smallest quota rounded up, at least 1; nothing where there is none.
std::optional<unsigned> cpu_quota(std::string_view membership, const std::string& root);

}  // namespace tcpd
