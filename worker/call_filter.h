#pragma once

// The system calls that an image gives up (seccomp). What a worker never makes fails with EPERM, or with EACCES where
// it names a file; clone3 and whatever is newer than this table with ENOSYS, so that libc takes another way. A worker
// may still signal its own threads and end itself (tgkill), since the filter can't know its pid: it outlives the
// process that set it. Its master it may not signal, by whatever call, and no unix socket can be made, but for
// streams where an upstream is dialled by path: so the master's control socket is out of reach. It neither binds nor
// listens nor attaches a program that picks sockets: the clients of other slots do not come to it. Pure; x86-64.
// Source: seccomp(2), the kernel's Documentation/userspace-api/seccomp_filter.rst, syscalls(2), socket(7).

#include <linux/filter.h>
#include <sys/types.h>

#include <cstddef>
#include <vector>

namespace tcpd::worker {

struct CallNeeds {
    pid_t master = 0;
    bool dials_unix = false;
};

std::vector<sock_filter> make_call_filter(const CallNeeds& needs);
// How many calls are denied whatever their arguments.
size_t denied_calls();

}  // namespace tcpd::worker
