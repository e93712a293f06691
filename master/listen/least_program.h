#pragma once

// The eBPF program that steers: of a group's choice the slot with the fewest connections, which it counts up
// at that moment. One program serves all groups of a table (group_table.h): it looks up whose socket was met.
// Pure; master only. Source: the kernel's Documentation/bpf/map_sockmap.rst, map_array.rst and
// standardization/instruction-set.rst; linux/bpf.h "struct sk_reuseport_md", "struct bpf_sock".

#include <linux/bpf.h>

#include <cstdint>
#include <vector>

#include "daemon/slot/layout.h"

namespace tcpd::master {

// By which the kernel and we know a group: all of its sockets are bound alike.
struct GroupKey {
    uint32_t family;
    uint32_t device;      // that it is bound to, or 0
    uint32_t address[4];  // in network order; of IPv4 the first only
    uint32_t port;        // in the machine's order
    bool operator==(const GroupKey&) const = default;
};
static_assert(sizeof(GroupKey) == 28);  // without padding, which a hash would see

GroupKey key_of(int socket);

// The slots to choose from; none: the kernel goes by its hash.
struct Choice {
    uint32_t count = 0;
    uint32_t slots[slot::kMaxSlots] = {};
};

// Descriptors of maps.
struct SteeringMaps {
    int groups = -1;   // by GroupKey: the group's number; -1: there is but one group, and it is 0
    int choices = -1;  // by the group's number: its Choice
    int sockets = -1;  // by place_of
    int counts = -1;   // one value: slot::SharedCounts
};
constexpr uint32_t place_of(uint32_t group, uint32_t slot) { return group * slot::kMaxSlots + slot; }

std::vector<bpf_insn> least_program(const SteeringMaps& maps);

}  // namespace tcpd::master
