#include "daemon/base/net/keepalive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace tcpd {

namespace {

bool set(int fd, int level, int option, int64_t value) {
    const int number = static_cast<int>(value);
    return setsockopt(fd, level, option, &number, sizeof number) == 0;
}

int64_t seconds(Duration duration) { return std::chrono::ceil<std::chrono::seconds>(duration).count(); }

}  // namespace

bool set_keepalive(int fd, const Keepalive& keepalive) {
    const Duration patience = keepalive.idle + keepalive.interval * keepalive.probes;
    return set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
           set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(keepalive.idle)) &&
           set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(keepalive.interval)) &&
           set(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive.probes) &&
           set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, patience.count());
}

}  // namespace tcpd
