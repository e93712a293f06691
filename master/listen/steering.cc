#include "master/listen/steering.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace tcpd::master {

namespace {

constexpr uint32_t kByHash = 0xFFFFFFFF;  // beyond every group: the kernel falls back to its hash

sock_filter statement(unsigned code, uint32_t value) {
    return BPF_STMT(static_cast<unsigned short>(code), value);
}

sock_filter skip_unless_equal(uint32_t value) {
    return BPF_JUMP(static_cast<unsigned short>(BPF_JMP | BPF_JEQ | BPF_K), value, 0, 1);
}

}  // namespace

std::vector<sock_filter> steering_program(const std::vector<uint32_t>& indices) {
    if (indices.empty()) return {statement(BPF_RET | BPF_K, kByHash)};
    const auto count = static_cast<uint32_t>(indices.size());
    std::vector<sock_filter> program = {
        statement(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM)),
        statement(BPF_ALU | BPF_MOD | BPF_K, count)};
    for (uint32_t drawn = 0; drawn + 1 < count; ++drawn) {
        program.push_back(skip_unless_equal(drawn));
        program.push_back(statement(BPF_RET | BPF_K, indices[drawn]));
    }
    program.push_back(statement(BPF_RET | BPF_K, indices.back()));
    return program;
}

void SteeredGroup::remove(uint32_t slot) {
    const auto at = std::find_if(members_.begin(), members_.end(),
                                 [slot](const Member& member) { return member.slot == slot; });
    if (at == members_.end()) return;
    *at = members_.back();
    members_.pop_back();
}

std::vector<uint32_t> SteeredGroup::slots() const {
    std::vector<uint32_t> list;
    for (const Member& member : members_) list.push_back(member.slot);
    return list;
}

Result<void> SteeredGroup::steer(const std::vector<uint32_t>& slots) const {
    std::vector<uint32_t> indices;
    for (uint32_t i = 0; i < members_.size(); ++i) {
        if (std::find(slots.begin(), slots.end(), members_[i].slot) != slots.end()) indices.push_back(i);
    }
    if (indices.empty() || members_.size() < 2) return {};
    std::vector<sock_filter> program = steering_program(indices);
    const sock_fprog attached{static_cast<unsigned short>(program.size()), program.data()};
    if (::setsockopt(members_.front().fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attached, sizeof attached) !=
        0) {
        return system_error(errno, "steer connections to the slots in service");
    }
    return {};
}

}  // namespace tcpd::master
