#pragma once

// Which socket of a SO_REUSEPORT group a new connection goes to: at random over the slots in service, by a
// classic BPF program in the kernel, which needs no privilege. Master only. The program lives with the
// group's sockets, so it stays if the master dies. A socket's index in its group is its place in the order of
// the listen() calls; closing one moves the last of the group into its place, so the master keeps its own
// list. Source: socket(7) SO_ATTACH_REUSEPORT_CBPF; the kernel's filter.rst "SKF_AD_RANDOM".

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "daemon/base/error.h"

namespace tcpd::master {

// Chooses one of `indices` at random; empty: nothing is chosen, the kernel goes by its hash. Pure.
std::vector<sock_filter> steering_program(const std::vector<uint32_t>& indices);

class SteeredGroup {
public:
    // In the order of the listen() calls.
    void add(uint32_t slot, int fd) { members_.push_back({slot, fd}); }
    // Before its socket is closed for good. As in the kernel, the last one moves into its place.
    void remove(uint32_t slot);
    std::vector<uint32_t> slots() const;  // in that order
    // Steers to those of the slots that are members; if none is, nothing changes.
    Result<void> steer(const std::vector<uint32_t>& slots) const;

private:
    struct Member {
        uint32_t slot;
        int fd;  // borrowed
    };
    std::vector<Member> members_;
};

}  // namespace tcpd::master
