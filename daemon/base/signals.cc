#include "daemon/base/signals.h"

namespace tcpd {

void default_all_signals() {
    for (int number = 1; number <= SIGRTMAX; ++number) ::signal(number, SIG_DFL);
}

void block_all_signals() {
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
}

void unblock_all_signals() {
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace tcpd
