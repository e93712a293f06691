#pragma once

// Our own epoll set: connections, level-triggered, and listening sockets. The epoll descriptor lies in
// the slot's table, so a successor finds descriptor and registrations and goes on; it is one ev_io of the
// worker's libev loop. Each registration carries descriptor and record generation, so that an event for a
// connection that has ended since, or that is another one by now, is noticed. Borrows the descriptor. Worker
// only. Source: epoll(7).

#include <sys/epoll.h>

#include <cstdint>

namespace tcpd::worker {

struct PollTag {
    int fd;
    uint32_t generation;  // kListenerGeneration: a listening socket
    uint64_t pack() const { return uint64_t{generation} << 32 | static_cast<uint32_t>(fd); }
    static PollTag unpack(uint64_t data) {
        return {static_cast<int>(static_cast<uint32_t>(data)), static_cast<uint32_t>(data >> 32)};
    }
};
inline constexpr uint32_t kListenerGeneration = 0xFFFFFFFF;

class Poller {
public:
    explicit Poller(int epoll_fd) : epoll_fd_(epoll_fd) {}

    int fd() const { return epoll_fd_; }
    // errno on failure, else 0. `change` of a descriptor that is not in the set adds it.
    int add(PollTag tag, uint32_t events) const;
    int change(PollTag tag, uint32_t events) const;
    void remove(int fd) const;
    // The number of events, 0 when there are none; never waits.
    int poll(epoll_event* events, int capacity) const;

private:
    int epoll_fd_;
};

}  // namespace tcpd::worker
