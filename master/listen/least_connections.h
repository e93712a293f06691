#pragma once

// Steering by an eBPF program in the kernel: a new connection goes to the slot in service that has the
// fewest. The program counts up, in the memory that slots and master share (daemon/slot/shared_counts.h), at
// the moment it chooses; slots count down, and put right what never came. One program serves all groups: the
// kernel takes milliseconds to look one through. Needs CAP_BPF and CAP_NET_ADMIN; without them classic BPF
// steers (steering.h). Master only. If the master dies, the kernel goes on with the program and its maps as
// long as one of the sockets is open. Source: bpf(2), socket(7) SO_ATTACH_REUSEPORT_EBPF.

#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "master/listen/group_table.h"

namespace tcpd::master {

// Memory for SharedCounts that such a program can count in; an Error where the kernel does not let us.
Result<UniqueFd> make_counts_map();
// Made by make_counts_map.
bool is_counts_map(int fd);

struct SteeredSocket {
    uint32_t slot;
    int fd;  // borrowed
    bool is_in_map = false;
};

class LeastConnections {
public:
    // `counts_map`: of make_counts_map; borrowed. -1, as at first: it is not to steer.
    void count_in(int counts_map) { counts_map_ = counts_map; }
    bool is_on() const { return counts_map_ >= 0; }
    // `groups`: as many as there are; a table is made with room for more of them.
    void expect(size_t groups) { expected_ = groups; }
    // Steers to `chosen` of a group's `members`. An Error leaves the group steered as it was.
    Result<void> steer(GroupRow& row, std::vector<SteeredSocket>& members,
                       const std::vector<uint32_t>& chosen);
    // One program for each group, as kernels before 5.14 need it.
    void use_own_programs() { has_own_programs_ = true; }

    // Over an exec of this process.
    std::vector<SavedGroupTable> save() const;
    void take_over(const std::vector<SavedGroupTable>& saved);
    int32_t number_of(const GroupRow& row) const;  // of its table; -1: it has none
    GroupRow take_over_row(int32_t table, uint32_t number, int socket);

private:
    Result<GroupRow> find_row(const GroupKey& key);
    Result<GroupTable*> add_table();
    std::vector<std::unique_ptr<GroupTable>> tables_;
    size_t expected_ = 0;
    int counts_map_ = -1;
    bool has_own_programs_ = false;
};

}  // namespace tcpd::master
