#pragma once

// Signals of a whole process: dispositions, the mask, and the lists that the master and its images have to
// agree on. Every process. All of it is async-signal-safe, so that a child may call it before its exec.
// Source: signal(7), signal-safety(7), execve(2) "Effect on signals".

#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>

namespace tcpd {

// By these a process dies of its own fault.
inline constexpr int kFaultSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

// From its exec on; a worker takes TERM back (worker/dispositions.h).
inline constexpr int kImageIgnores[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH,
                                        SIGTTIN, SIGTTOU, SIGTSTP, SIGPIPE, SIGXFSZ, SIGTERM};

void default_all_signals();
void block_all_signals();
void unblock_all_signals();

// A handler of the parent's must not run in the child: that has every signal blocked and runs `child`, which
// does not return. -1: errno says why.
template <typename F>
pid_t fork_blocked(F child) {
    sigset_t before;
    ::sigprocmask(SIG_SETMASK, nullptr, &before);
    block_all_signals();
    const pid_t pid = ::fork();
    if (pid == 0) child();
    const int fork_errno = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    errno = fork_errno;
    return pid;
}

}  // namespace tcpd
