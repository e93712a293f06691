#pragma once

// Which socket of a SO_REUSEPORT group a new connection goes to: the slot in service that has the fewest,
// where the kernel lets us (least_connections.h); else at random over those in service, by a classic BPF
// program in the kernel, which needs no privilege, with odds that make up for what chance has done so far.
// Master only. The program lives with the group's sockets, so it stays if the master dies. A socket's index
// in its group is its place in the order of the listen() calls; closing one moves the last of the group into
// its place, so the master keeps its own list. Source: socket(7) SO_ATTACH_REUSEPORT_CBPF; the kernel's
// filter.rst "SKF_AD_RANDOM".

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "daemon/base/error.h"
#include "master/listen/least_connections.h"

namespace tcpd::master {

struct Odds {
    uint32_t index;
    uint32_t weight;
};
// Chooses one at random; empty: nothing is chosen, the kernel goes by its hash. Pure.
std::vector<sock_filter> steering_program(const std::vector<Odds>& odds);

// Of slots with so many connections each: such that `expected` further ones make them even. Each is at
// least 1. Pure.
std::vector<uint32_t> weights(const std::vector<uint64_t>& open, uint64_t expected);

// What a slot has, by its number, and what is about to come.
struct Loads {
    std::vector<uint64_t> open;
    uint64_t expected = 0;
};

class SteeredGroup {
public:
    // In the order of the listen() calls.
    void add(uint32_t slot, int fd) { members_.push_back({slot, fd}); }
    // A group of one is steered as well from now on, so that the next member gets nothing before it is
    // chosen.
    void expect_another() { is_growing_ = true; }
    // Before its socket is closed for good. As in the kernel, the last one moves into its place.
    void remove(uint32_t slot);
    std::vector<uint32_t> slots() const;  // in that order
    // Steers to those of the slots that are members; if none is, nothing changes.
    Result<void> steer_to_least(const std::vector<uint32_t>& slots, LeastConnections& least);
    Result<void> steer_at_random(const std::vector<uint32_t>& slots, const Loads& loads);
    // Over an exec of this process; none: steer_to_least has not been used.
    const GroupRow& row() const { return row_; }
    void take_over(GroupRow row) { row_ = std::move(row); }

private:
    bool has_choice(const std::vector<uint32_t>& slots) const;
    void give_row_back();
    std::vector<SteeredSocket> members_;
    GroupRow row_;
    bool is_growing_ = false;
};

}  // namespace tcpd::master
