#include "worker/dispositions.h"

#include <cerrno>
#include <csignal>

namespace tcpd::worker {

namespace {

constexpr int kIgnored[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH,
                            SIGTTIN, SIGTTOU, SIGTSTP, SIGPIPE, SIGXFSZ, SIGTERM};

}  // namespace

Result<void> set_dispositions() {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    for (const int signal_number : kIgnored)
        if (::sigaction(signal_number, &ignore, nullptr) != 0)
            return system_error(errno, "ignore signal", std::to_string(signal_number));
    sigset_t none;
    ::sigemptyset(&none);
    if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return system_error(errno, "unblock signals");
    return {};
}

}  // namespace tcpd::worker
