#pragma once

// Runs a check in a process of its own, for what changes a process for good: its user, limits, descriptors,
// title.

#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace tcpd::test {

// waitid's view of a child that runs `body` and exits with what it returns.
template <typename Body>
siginfo_t run_in_child(Body&& body) {
    pid_t child = fork();
    if (child == 0) _exit(std::forward<Body>(body)());
    siginfo_t info{};
    if (child > 0) waitid(P_PID, static_cast<id_t>(child), &info, WEXITED);
    return info;
}

template <typename Body>
bool holds_in_child(Body&& body) {
    siginfo_t info = run_in_child([&body] { return body() ? 0 : 1; });
    return info.si_code == CLD_EXITED && info.si_status == 0;
}

}  // namespace tcpd::test
