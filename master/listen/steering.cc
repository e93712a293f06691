#include "master/listen/steering.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <numeric>

namespace tcpd::master {

namespace {

constexpr uint64_t kMostWeight = 1 << 20;  // of 256 slots, the sum stays below 32 bits
constexpr uint32_t kByHash = 0xFFFFFFFF;   // beyond every group: the kernel falls back to its hash

sock_filter statement(unsigned code, uint32_t value) {
    return BPF_STMT(static_cast<unsigned short>(code), value);
}

sock_filter skip_if_at_least(uint32_t value) {
    return BPF_JUMP(static_cast<unsigned short>(BPF_JMP | BPF_JGE | BPF_K), value, 1, 0);
}

bool contains(const std::vector<uint32_t>& slots, uint32_t slot) {
    return std::find(slots.begin(), slots.end(), slot) != slots.end();
}

}  // namespace

std::vector<sock_filter> steering_program(const std::vector<Odds>& odds) {
    if (odds.empty()) return {statement(BPF_RET | BPF_K, kByHash)};
    uint32_t total = 0;
    for (const Odds& one : odds) total += one.weight;
    std::vector<sock_filter> program = {
        statement(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM)),
        statement(BPF_ALU | BPF_MOD | BPF_K, total)};
    uint32_t below = 0;
    for (size_t i = 0; i + 1 < odds.size(); ++i) {
        below += odds[i].weight;
        program.push_back(skip_if_at_least(below));
        program.push_back(statement(BPF_RET | BPF_K, odds[i].index));
    }
    program.push_back(statement(BPF_RET | BPF_K, odds.back().index));
    return program;
}

std::vector<uint32_t> weights(const std::vector<uint64_t>& open, uint64_t expected) {
    if (open.empty()) return {};
    const uint64_t sum = std::accumulate(open.begin(), open.end(), expected);
    const uint64_t share = (sum + open.size() - 1) / open.size();
    std::vector<uint32_t> list;
    for (const uint64_t one : open) {
        list.push_back(
            static_cast<uint32_t>(std::clamp<uint64_t>(share - std::min(share, one), 1, kMostWeight)));
    }
    return list;
}

void SteeredGroup::remove(uint32_t slot) {
    const auto at = std::find_if(members_.begin(), members_.end(),
                                 [slot](const SteeredSocket& member) { return member.slot == slot; });
    if (at == members_.end()) return;
    *at = members_.back();
    members_.pop_back();
}

std::vector<uint32_t> SteeredGroup::slots() const {
    std::vector<uint32_t> list;
    for (const SteeredSocket& member : members_) list.push_back(member.slot);
    return list;
}

bool SteeredGroup::has_choice(const std::vector<uint32_t>& slots) const {
    return members_.size() >= (is_growing_ ? 1 : 2) &&
           std::any_of(members_.begin(), members_.end(),
                       [&](const SteeredSocket& member) { return contains(slots, member.slot); });
}

Result<void> SteeredGroup::steer_to_least(const std::vector<uint32_t>& slots, LeastConnections& least) {
    return has_choice(slots) ? least.steer(row_, members_, slots) : Result<void>();
}

// Another program steers: a later steer_to_least begins anew.
void SteeredGroup::give_row_back() {
    if (!row_) return;
    for (SteeredSocket& member : members_) {
        row_.table().remove_socket(row_.number(), member.slot);
        member.is_in_map = false;
    }
    row_.reset();
}

Result<void> SteeredGroup::steer_at_random(const std::vector<uint32_t>& slots, const Loads& loads) {
    if (!has_choice(slots)) return {};
    std::vector<Odds> odds;
    std::vector<uint64_t> open;
    for (uint32_t i = 0; i < members_.size(); ++i) {
        const uint32_t slot = members_[i].slot;
        if (!contains(slots, slot)) continue;
        odds.push_back({i, 1});
        open.push_back(slot < loads.open.size() ? loads.open[slot] : 0);
    }
    const std::vector<uint32_t> wanted = weights(open, loads.expected);
    for (size_t i = 0; i < odds.size(); ++i) odds[i].weight = wanted[i];
    std::vector<sock_filter> program = steering_program(odds);
    const sock_fprog attached{static_cast<unsigned short>(program.size()), program.data()};
    if (::setsockopt(members_.front().fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attached, sizeof attached) !=
        0) {
        return system_error(errno, "steer connections to the slots in service");
    }
    give_row_back();
    return {};
}

}  // namespace tcpd::master
