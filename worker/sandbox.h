#pragma once

// What an image gives up before it meets a client: capabilities, new privileges, every file by name
// (Landlock), and the system calls that no worker needs (seccomp). Worker and standby; entered once, while
// pristine, by the one thread; clones and threads inherit it. Descriptors that are open keep working, sockets
// are not restricted. Executing, forking (but for a thread and the standby's own clone), tracing, mounting
// and the like fail with EPERM; clone3 with ENOSYS, so that glibc takes clone, whose flags the filter can
// read. Each is dropped silently where the kernel lacks it: the summary says so. If the process dies in here:
// it was pristine, the master makes another. Source: landlock(7), seccomp(2), capabilities(7), the kernel's
// Documentation/userspace-api/seccomp_filter.rst.

#include <linux/filter.h>

#include <string>
#include <string_view>
#include <vector>

namespace tcpd::worker {

// "landlock (ABI 7), seccomp (62 calls denied), no capabilities", or what is missing and why.
std::string enter_sandbox();

// Below which the kernel puts core files for this core_pattern; "." for a relative one, nothing for a
// program. Pure.
std::string core_directory(std::string_view pattern);

// The filter's program; pure.
std::vector<sock_filter> make_call_filter();

}  // namespace tcpd::worker
