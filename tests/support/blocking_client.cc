#include "tests/support/blocking_client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "tests/support/wait.h"

namespace tcpd::test {
namespace {

[[noreturn]] void fail(const std::string& what) { throw Failed(what + ": " + std::strerror(errno)); }

void limit_waits(int fd) {
    const timeval limit{std::chrono::duration_cast<std::chrono::seconds>(kPatience).count(), 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

// A call with a time limit ends with EINTR where this process was stopped and goes on (signal(7)).
ssize_t take(int fd, char* to, size_t bytes) {
    for (;;) {
        const ssize_t got = recv(fd, to, bytes, 0);
        if (got >= 0 || errno != EINTR) return got;
    }
}

UniqueFd connected(const Address& address, const ClientOptions& options) {
    UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) fail("socket");
    limit_waits(fd.get());
    if (options.receive_buffer) {
        setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof(int));
    }
    if (options.segment) setsockopt(fd.get(), IPPROTO_TCP, TCP_MAXSEG, &options.segment, sizeof(int));
    if (connect(fd.get(), address.get(), address.length()) != 0) fd.reset();
    return fd;
}

}  // namespace

BlockingClient::BlockingClient(const Address& address, const ClientOptions& options)
    : fd_(connected(address, options)) {
    if (!fd_) fail("connect to " + address.text());
}

BlockingClient::BlockingClient(UniqueFd accepted) : fd_(std::move(accepted)) {
    if (!fd_) fail("accept");
    limit_waits(fd_.get());
}

void BlockingClient::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) fail("send");
        bytes.remove_prefix(static_cast<size_t>(sent));
    }
}

void BlockingClient::send_urgent(char byte) {
    if (::send(fd_.get(), &byte, 1, MSG_OOB | MSG_NOSIGNAL) != 1) fail("send urgent byte");
}

std::string BlockingClient::receive(size_t bytes) {
    std::string all(bytes, '\0');
    size_t have = 0;
    while (have < bytes) {
        const ssize_t got = take(fd_.get(), all.data() + have, bytes - have);
        if (got < 0) fail("receive");
        if (got == 0) throw Failed("the other end closed after " + std::to_string(have) + " bytes");
        have += static_cast<size_t>(got);
    }
    return all;
}

std::string BlockingClient::receive_all() {
    std::string all;
    char buffer[16384];
    for (;;) {
        const ssize_t got = take(fd_.get(), buffer, sizeof buffer);
        if (got < 0) fail("receive");
        if (got == 0) return all;
        all.append(buffer, static_cast<size_t>(got));
    }
}

bool BlockingClient::echoes(std::string_view bytes) {
    send(bytes);
    return receive(bytes.size()) == bytes;
}

void BlockingClient::end_output() {
    if (shutdown(fd_.get(), SHUT_WR) != 0) fail("shutdown");
}

void BlockingClient::reset() {
    const linger at_once{1, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    fd_.reset();
}

Ending BlockingClient::wait_end() {
    char buffer[16384];
    ssize_t got;
    while ((got = take(fd_.get(), buffer, sizeof buffer)) > 0) continue;
    if (got == 0) return Ending::orderly;
    return errno == EAGAIN ? Ending::timed_out : Ending::reset;
}

bool BlockingClient::has_input() const {
    pollfd poller{fd_.get(), POLLIN, 0};
    return poll(&poller, 1, 0) == 1;
}

uint16_t BlockingClient::local_port() const {
    sockaddr_storage local{};
    socklen_t length = sizeof local;
    getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&local), &length);
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&local), length).port();
}

bool can_connect(const Address& address) { return static_cast<bool>(connected(address, {})); }

}  // namespace tcpd::test
