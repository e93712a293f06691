#include "worker/back_off.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "daemon/slot/layout.h"

namespace tcpd::worker {

namespace {

constexpr uint32_t kMostDoublings = 40;  // 2^40 ms are 35 years, and a Duration holds it

volatile sig_atomic_t term_came = 0;

void on_term(int) { term_came = 1; }

void set_term(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(SIGTERM, &action, nullptr);
}

timespec until(uint64_t deadline_ns) {
    const uint64_t now = monotonic_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
    return {static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
}

// TERM is blocked but for the poll itself, so that one which comes just before it is seen.
WaitEnd wait_until(uint64_t deadline_ns, int control_fd, const sigset_t& while_polling) {
    for (;;) {
        pollfd control{control_fd, POLLIN, 0};
        const timespec left = until(deadline_ns);
        const int ready = ::ppoll(&control, 1, &left, &while_polling);
        if (term_came != 0) return WaitEnd::term;
        if (ready > 0) return WaitEnd::control;
        if (ready == 0 || errno != EINTR) return WaitEnd::time;
    }
}

}  // namespace

BackOff back_off_after(uint64_t lived_ns, uint32_t short_lives, const BackOffLimits& limits) {
    if (lived_ns >= slot::kShortLifeNs) return {};
    const uint32_t doublings = std::min(short_lives, kMostDoublings);
    const auto most_initial = limits.max.count() >> doublings;
    const Duration wait =
        limits.initial.count() > most_initial ? limits.max : Duration(limits.initial.count() << doublings);
    return {short_lives + 1, wait};
}

WaitEnd wait_out(Duration wait, int control_fd) {
    sigset_t term, before;
    ::sigemptyset(&term);
    ::sigaddset(&term, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &term, &before);
    term_came = 0;
    set_term(on_term);
    const WaitEnd end = wait_until(monotonic_ns() + to_ns(wait), control_fd, before);
    set_term(SIG_IGN);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return end;
}

}  // namespace tcpd::worker
