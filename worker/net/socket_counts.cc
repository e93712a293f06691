#include "worker/net/socket_counts.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/net/address.h"

namespace tcpd::worker {

namespace {

// Of the kernel's enum; netinet/tcp.h, which has it for programs, does not go with linux/tcp.h.
constexpr uint8_t kSynSent = 2;
constexpr uint8_t kTimeWait = 6;
constexpr uint8_t kClose = 7;
constexpr uint8_t kCloseWait = 8;
constexpr uint8_t kLastAck = 9;
constexpr uint8_t kClosing = 11;

slot::Tick ticks_of_ms(uint32_t milliseconds) { return slot::to_tick(uint64_t{milliseconds} * 1'000'000); }

bool has_error(int fd) {
    pollfd state{fd, 0, 0};
    return poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0;
}

bool has_end_in(int fd, uint8_t state) {
    switch (state) {
        case kCloseWait:
        case kLastAck:
        case kClosing:
        case kTimeWait: return true;
        case kClose: return !has_error(fd);
        default: return false;
    }
}

struct Books {
    tcp_info info{};
    int unread = 0, unsent = 0;
};

bool read_books(int fd, Books* books) {
    socklen_t length = sizeof books->info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &books->info, &length) == 0 &&
           ioctl(fd, SIOCINQ, &books->unread) == 0 && ioctl(fd, SIOCOUTQ, &books->unsent) == 0;
}

// Bytes may arrive and be acknowledged between the calls: read until two readings agree.
bool read_settled_books(int fd, Books* books) {
    Books earlier;
    if (!read_books(fd, &earlier)) return false;
    for (int i = 0; i < 1000; ++i) {
        if (!read_books(fd, books)) return false;
        if (books->info.tcpi_bytes_received == earlier.info.tcpi_bytes_received &&
            books->info.tcpi_bytes_acked == earlier.info.tcpi_bytes_acked &&
            books->info.tcpi_state == earlier.info.tcpi_state && books->unread == earlier.unread &&
            books->unsent == earlier.unsent) {
            return true;
        }
        earlier = *books;
    }
    return false;
}

int option_of(int fd, int option) {
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

}  // namespace

SocketCounts count_bytes(int fd, bool end_out, bool dialled) {
    Books books;
    if (option_of(fd, SO_PROTOCOL) != IPPROTO_TCP || !read_settled_books(fd, &books)) return {};
    const uint8_t state = books.info.tcpi_state;
    SocketCounts counts;
    counts.is_known = true;
    counts.is_reset = state == kClose && (!end_out || has_error(fd));  // else both ended
    counts.taken =
        books.info.tcpi_bytes_received - static_cast<uint64_t>(books.unread) - has_end_in(fd, state);
    counts.given = books.info.tcpi_bytes_acked + static_cast<uint64_t>(books.unsent) - end_out -
                   (dialled && state != kSynSent);
    return counts;
}

PeerSigns read_signs(int fd) {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return {};
    const uint32_t unsent = info.tcpi_notsent_bytes;
    return {.is_known = true,
            .is_settled = info.tcpi_unacked == 0 && unsent == 0,
            .is_unanswered = info.tcpi_unacked != 0 || info.tcpi_probes != 0,
            .is_shut = info.tcpi_unacked == 0 && unsent != 0,
            .heard = ticks_of_ms(std::min(info.tcpi_last_ack_recv, info.tcpi_last_data_recv)),
            .sent = ticks_of_ms(info.tcpi_last_data_sent)};
}

Stray look_at_stray(int fd) {
    const int type = option_of(fd, SO_TYPE);
    if (type < 0) return errno == EBADF ? Stray::none : Stray::other;
    if (type != SOCK_STREAM) return Stray::other;
    if (option_of(fd, SO_ACCEPTCONN) == 1) return Stray::listening;
    sockaddr_storage peer;
    socklen_t length = sizeof peer;
    const bool connected = getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0;
    const bool is_tcp = option_of(fd, SO_PROTOCOL) == IPPROTO_TCP;
    if (!is_tcp && option_of(fd, SO_DOMAIN) != AF_UNIX) return Stray::other;
    return connected ? Stray::connected : Stray::unconnected;
}

bool is_connected_to_itself(int fd) {
    const auto own = Address::of_socket(fd);
    sockaddr_storage peer;
    socklen_t length = sizeof peer;
    return own && getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0 &&
           *own == Address::from_sockaddr(reinterpret_cast<sockaddr*>(&peer), length);
}

bool is_accepted_from(int fd, int listening) {
    const auto own = Address::of_socket(fd), wanted = Address::of_socket(listening);
    return own && wanted && look_at_stray(fd) == Stray::connected &&
           option_of(listening, SO_ACCEPTCONN) == 1 && own->overlaps(*wanted);
}

}  // namespace tcpd::worker
