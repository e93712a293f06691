#pragma once

// How a descriptor table goes from a parked worker to the image that is to succeed it: over a SEQPACKET
// socket pair, first a head with our own epoll set, then the connections' descriptors in ascending order,
// each message with their numbers. Both ends run on one machine; a new form comes with a new magic. Worker
// and image. Source: unix(7) SCM_RIGHTS, SCM_MAX_FD; cmsg(3).

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/slot/control_message.h"
#include "daemon/slot/slot_memory.h"

namespace tcpd::worker {

inline constexpr uint32_t kTableMagic = 0x55435454;  // "TTCU"
inline constexpr size_t kMostAtOnce = 253;           // SCM_MAX_FD

// For the descriptors of one message.
union DescriptorRoom {
    cmsghdr head;
    std::array<char, CMSG_SPACE(kMostAtOnce * sizeof(int32_t))> bytes;
};

struct TableHead {
    uint32_t magic = kTableMagic;
    uint32_t records = 0;    // how many descriptors follow
    uint64_t parked_ns = 0;  // monotonic: since when the worker serves nobody
};

// The numbers of all connections of a slot, ascending. Nobody serves it while this is called.
std::vector<int32_t> connection_numbers(slot::SlotMemory& memory);

// Has the time of a hand-over passed, or has the service word been changed by somebody else? One for each
// hand-over and side.
class HandOverWatch {
public:
    HandOverWatch(slot::SlotMemory& memory, slot::ServiceWord word, uint64_t limit_ns);
    std::optional<slot::HandOverEnd> end() const;
    slot::ServiceWord word() const;
    bool is_unchanged() const { return word().pack() == expected_.pack(); }
    // Waits a few milliseconds at most for `events`; true: they are there.
    bool wait(int fd, short events) const;

private:
    slot::SlotMemory& memory_;
    slot::ServiceWord expected_;
    uint64_t until_ns_;
};

}  // namespace tcpd::worker
