#pragma once

// A child of the test that runs a function of it, not a program. Owns the process: its destructor kills and
// reaps it. The child has a time limit of its own and dumps no core.

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>

namespace tcpd::test {

inline constexpr unsigned kChildSeconds = 15;

// Exit code, or 128 + signal; -1: no such child.
inline int wait_exit(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Asks every 0.2 ms for up to 20 s.
template <typename Condition>
bool comes_true(Condition condition) {
    constexpr timespec kPause{0, 200'000};
    for (int i = 0; i < 100'000; ++i) {
        if (condition()) return true;
        ::nanosleep(&kPause, nullptr);
    }
    return false;
}

class ForkedChild {
public:
    // The child ends with what `body` returns.
    template <typename Body>
    explicit ForkedChild(Body body) : pid_(::fork()) {
        if (pid_ != 0) return;
        rlimit core{};
        ::getrlimit(RLIMIT_CORE, &core);
        core.rlim_cur = 0;
        ::setrlimit(RLIMIT_CORE, &core);
        for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) ::signal(fault, SIG_DFL);
        ::alarm(kChildSeconds);
        ::_exit(body());
    }
    ForkedChild(const ForkedChild&) = delete;
    ~ForkedChild() {
        if (pid_ > 0) kill(), wait();
    }

    pid_t pid() const { return pid_; }
    void signal(int signal_number) const { ::kill(pid_, signal_number); }
    void kill() const { signal(SIGKILL); }
    // Killed when it takes too long: a handler may have blocked its alarm.
    int wait() {
        if (!comes_true([this] { return is_dead(); })) kill();
        const int exit = wait_exit(pid_);
        pid_ = -1;
        return exit;
    }
    // Dead, but not yet reaped.
    bool is_dead() const {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT | WNOHANG) == 0 &&
               info.si_pid == pid_;
    }

private:
    pid_t pid_;
};

}  // namespace tcpd::test
