#include "daemon/base/net/keepalive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

namespace tcpd {

namespace {

bool set(int fd, int level, int option, int64_t value) {
    const int number = static_cast<int>(value);
    return setsockopt(fd, level, option, &number, sizeof number) == 0;
}

// TCP_RTO_MAX_MS, of Linux 6.15: older headers lack it, and older kernels take it for unknown.
constexpr int kMostBackOff = 44;
constexpr Duration kLeastBackOff = std::chrono::seconds(1), kMaxBackOff = std::chrono::seconds(120);

int64_t seconds(Duration duration) { return std::chrono::ceil<std::chrono::seconds>(duration).count(); }

}  // namespace

bool set_keepalive(int fd, const Keepalive& keepalive) {
    // Where the kernel can: it asks a window that stays closed, and sends anew, often enough that a peer which is
    // gone is told from one that is not asked for minutes.
    (void)set(fd, IPPROTO_TCP, kMostBackOff,
              std::clamp(keepalive.patience() / 8, kLeastBackOff, kMaxBackOff).count());
    return set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
           set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(keepalive.idle)) &&
           set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(keepalive.interval)) &&
           set(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive.probes) &&
           set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 0);  // an earlier image may have set it
}

}  // namespace tcpd
