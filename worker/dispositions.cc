#include "worker/dispositions.h"

#include <cerrno>
#include <csignal>

#include "daemon/base/signals.h"

namespace tcpd::worker {

Result<void> set_dispositions() {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    for (const int signal_number : kImageIgnores)
        if (::sigaction(signal_number, &ignore, nullptr) != 0)
            return system_error(errno, "ignore signal", std::to_string(signal_number));
    unblock_all_signals();
    return {};
}

}  // namespace tcpd::worker
