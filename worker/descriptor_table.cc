#include "worker/descriptor_table.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/slot/control_message.h"

namespace tcpd::worker {

namespace {

constexpr int kHighestPristine = 4096;  // listening sockets and a handful more

int highest_open() {
    int highest = 2;
    for (int fd = 3; fd < kHighestPristine; ++fd) {
        if (fcntl(fd, F_GETFD) >= 0) highest = fd;
    }
    return highest;
}

// To its full size, while nobody shares it: a shared one grows only after a grace period of RCU, in which all
// connections of the slot stand still. Where it can't be had now, it grows as it is needed.
void grow_table() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    const int last = fcntl(0, F_DUPFD_CLOEXEC, static_cast<int>(limit.rlim_cur) - 1);
    if (last >= 0) close(last);
}

}  // namespace

void plug_given_numbers() {
    for (;;) {
        const int fd = fcntl(0, F_DUPFD_CLOEXEC, slot::kControlFd);
        if (fd >= 0 && fd < slot::kFirstOwnFd) continue;
        if (fd >= 0) close(fd);
        return;
    }
}

Result<DescriptorTable> prepare_descriptor_table() {
    DescriptorTable table;
    table.poller_fd = epoll_create1(EPOLL_CLOEXEC);
    if (table.poller_fd < 0) return system_error(errno, "make the epoll set of the connections");
    if (table.poller_fd >= slot::kHandOverFd)
        return Error{.code = ErrorCode::exhausted,
                     .doing = "make the epoll set of the connections",
                     .reason = "the numbers for what an image opens itself are used up"};
    const int highest = std::max(highest_open(), slot::kFirstListenFd - 1);
    for (;;) {
        const int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);
        if (fd < 0) return system_error(errno, "fill the descriptor table below the connections");
        table.first_connection_fd = fd;
        if (fd > highest) break;
    }
    close(table.first_connection_fd);
    grow_table();
    return table;
}

}  // namespace tcpd::worker
