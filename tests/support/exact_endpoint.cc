#include "tests/support/exact_endpoint.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace tcpd::test {
namespace {

constexpr size_t kBufferBytes = 64 * 1024;
constexpr int kSendsAtOnce = 4;
thread_local char buffer[kBufferBytes];

}  // namespace

void prepare_socket(int fd) {
    const int on = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

uint32_t ExactEndpoint::interest() const {
    const bool wants_output = !end_sent_ && (sent_ < send_limit() || output_is_over());
    return (end_seen_ || !may_read() ? 0U : uint32_t{EPOLLIN}) | (wants_output ? uint32_t{EPOLLOUT} : 0U);
}

Outcome ExactEndpoint::advance(uint32_t epoll_events) {
    Outcome outcome = Outcome::going_on;
    if (!end_seen_ && may_read() && (epoll_events & ~uint32_t{EPOLLOUT})) outcome = read_once();
    if (outcome == Outcome::going_on && !end_sent_) outcome = send_some();
    if (outcome != Outcome::going_on) return outcome;
    if (end_sent_ && end_seen_) return Outcome::finished;
    // With nothing left to read or send, an error shows only here.
    const bool is_broken = epoll_events & EPOLLERR;
    return is_broken && end_seen_ ? Outcome::reset : Outcome::going_on;
}

Outcome ExactEndpoint::read_once() {
    may_read_at_ = SteadyClock::now() + 1ms;
    const ssize_t got = recv(fd_.get(), buffer, std::min(kBufferBytes, read_limit()), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR ? Outcome::going_on : Outcome::reset;
    if (got == 0) {
        end_seen_ = true;
        return end_is_right() ? Outcome::going_on : Outcome::early_end;
    }
    if (!takes(buffer, static_cast<size_t>(got))) return Outcome::wrong_byte;
    received_ += static_cast<uint64_t>(got);
    const auto now = SteadyClock::now();
    if (waits_since_.time_since_epoch().count())
        longest_stall_ = std::max(longest_stall_, now - waits_since_);
    waits_since_ = awaits_bytes() ? now : SteadyClock::time_point{};
    return Outcome::going_on;
}

size_t ExactEndpoint::next_piece() const {
    const uint64_t limit = send_limit();
    if (sent_ >= limit) return 0;
    uint64_t piece = std::min<uint64_t>({limit - sent_, kBufferBytes, piece_limit()});
    if (sent_ < urgent_at()) piece = std::min(piece, urgent_at() - sent_);
    return sent_ == urgent_at() ? 1 : static_cast<size_t>(piece);
}

Outcome ExactEndpoint::send_some() {
    for (int i = 0; i < kSendsAtOnce; ++i) {
        const size_t piece = next_piece();
        if (piece == 0) break;
        out_.fill(sent_, buffer, piece);
        const int urgent = sent_ == urgent_at() ? MSG_OOB : 0;
        const ssize_t sent = send(fd_.get(), buffer, piece, MSG_NOSIGNAL | urgent);
        if (sent < 0) {
            if (errno == EAGAIN || errno == EINTR) return Outcome::going_on;
            return Outcome::reset;
        }
        sent_ += static_cast<uint64_t>(sent);
        if (!waits_since_.time_since_epoch().count() && awaits_bytes()) waits_since_ = SteadyClock::now();
    }
    return end_output();
}

Outcome ExactEndpoint::end_output() {
    if (resets_now()) {
        const linger at_once{1, 0};
        setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        return Outcome::finished;
    }
    if (!output_is_over() || sent_ < send_limit()) return Outcome::going_on;
    end_sent_ = true;
    return shutdown(fd_.get(), SHUT_WR) == 0 ? Outcome::going_on : Outcome::reset;
}

}  // namespace tcpd::test
