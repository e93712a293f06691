#include "worker/net/poller.h"

#include <cerrno>

namespace tcpd::worker {

int Poller::add(PollTag tag, uint32_t events) const {
    epoll_event event{events, {}};
    event.data.u64 = tag.pack();
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, tag.fd, &event) == 0) return 0;
    if (errno != EEXIST) return errno;
    return epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, tag.fd, &event) == 0 ? 0 : errno;
}

int Poller::change(PollTag tag, uint32_t events) const {
    epoll_event event{events, {}};
    event.data.u64 = tag.pack();
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, tag.fd, &event) == 0) return 0;
    if (errno != ENOENT) return errno;
    return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, tag.fd, &event) == 0 ? 0 : errno;
}

void Poller::remove(int fd) const {
    epoll_event ignored{};
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &ignored);
}

int Poller::poll(epoll_event* events, int capacity) const {
    const int count = epoll_wait(epoll_fd_, events, capacity, 0);
    return count < 0 ? 0 : count;
}

}  // namespace tcpd::worker
