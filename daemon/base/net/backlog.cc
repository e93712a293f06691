#include "daemon/base/net/backlog.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "daemon/base/text.h"
#include "daemon/base/unique_fd.h"

namespace tcpd {

namespace {

std::optional<uint64_t> network_of(int fd) {
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (::getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) return std::nullopt;
    return cookie;
}

bool is_in_our_network(int fd) {
    const UniqueFd ours(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return ours && network_of(fd) && network_of(fd) == network_of(ours.get());
}

}  // namespace

std::optional<uint64_t> most_backlog() {
    std::string text;
    std::ifstream("/proc/sys/net/core/somaxconn") >> text;
    return parse_number(text);
}

// Of a listening TCP socket the kernel tells it in place of a count that such a one has not.
std::optional<uint64_t> backlog_of(int fd, uint64_t wanted) {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0) return info.tcpi_sacked;
    if (!is_in_our_network(fd)) return std::nullopt;
    const std::optional<uint64_t> most = most_backlog();
    return most ? std::optional(std::min(*most, wanted)) : std::nullopt;
}

}  // namespace tcpd
