#pragma once

// Steering by an eBPF program in the kernel: a new connection goes to the slot in service that has the
// fewest. The program counts up, in the memory that slots and master share (daemon/slot/shared_counts.h), at
// the moment it chooses; slots count down, and put right what never came. Needs CAP_BPF and CAP_NET_ADMIN;
// without them classic BPF steers (steering.h). Master only. If the master dies, the kernel goes on with the
// program and its maps as long as one of the group's sockets is open. Source: bpf(2), socket(7)
// SO_ATTACH_REUSEPORT_EBPF, the kernel's Documentation/bpf/map_sockmap.rst, map_array.rst and
// instruction-set.rst.

#include <cstdint>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::master {

// Memory for SharedCounts that such a program can count in; an Error where the kernel does not let us.
Result<UniqueFd> make_counts_map();
// Made by make_counts_map.
bool is_counts_map(int fd);

struct SteeredSocket {
    uint32_t slot;
    int fd;  // borrowed
};

// Of one SO_REUSEPORT group.
class LeastConnections {
public:
    LeastConnections() = default;
    // Over an exec of this process.
    LeastConnections(UniqueFd sockets, UniqueFd choice)
        : sockets_(std::move(sockets)), choice_(std::move(choice)) {}
    int sockets_fd() const { return sockets_.get(); }
    int choice_fd() const { return choice_.get(); }

    // Steers to `chosen` of the group's `members`. An Error leaves the group steered as it was.
    Result<void> steer(int counts_map, const std::vector<SteeredSocket>& members,
                       const std::vector<uint32_t>& chosen);

private:
    Result<void> make_maps();
    Result<void> attach(int counts_map, int fd);
    UniqueFd sockets_;  // by slot
    UniqueFd choice_;   // the slots to choose from
    bool is_attached_ = false;
};

}  // namespace tcpd::master
