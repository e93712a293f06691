#pragma once

// What an image gives up before it meets a client: capabilities, new privileges, every file by name
// (Landlock), and the system calls that no worker needs (seccomp, call_filter.h). Worker and standby; entered once,
// while pristine, by the one thread; clones and threads inherit it. Descriptors that are open keep working. Executing,
// forking (but for a thread and the standby's own clone), tracing, mounting, opening, signalling others and the like
// fail. Each is dropped silently where the kernel lacks it: the summary says so, and the master what that means
// (daemon/base/sandbox_gaps.h). If the process dies in here: it was pristine, the master makes another. Source:
// landlock(7), seccomp(2), capabilities(7).

#include <string>
#include <string_view>

namespace tcpd::worker {

struct SandboxNeeds {
    bool dials_unix = false;  // an upstream is a unix socket
    std::string pid_file;     // no core file is written beside it; empty: none
};

// "landlock (ABI 7), seccomp (129 calls denied), no capabilities", or what is missing and why.
std::string enter_sandbox(const SandboxNeeds& needs);

// Below which the kernel puts core files for this core_pattern; "." for a relative one, nothing for a
// program. Pure.
std::string core_directory(std::string_view pattern);

}  // namespace tcpd::worker
