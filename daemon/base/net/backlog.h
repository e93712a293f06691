#pragma once

// How many connections may wait at a listening socket: listen(2) takes less than it is asked for, without a
// word, where net.core.somaxconn is below that. Master and -t. Owns nothing. Source: listen(2), tcp(7)
// TCP_INFO, the kernel's net/socket.c __sys_listen and net/ipv4/tcp.c tcp_get_info.

#include <cstdint>
#include <optional>

namespace tcpd {

// The limit of our own network namespace; nullopt: it can't be seen.
std::optional<uint64_t> most_backlog();
// What a listening socket got that was asked for `wanted`. It may be of another network namespace.
std::optional<uint64_t> backlog_of(int fd, uint64_t wanted);

}  // namespace tcpd
