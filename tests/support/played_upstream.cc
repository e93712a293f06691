#include "tests/support/played_upstream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "tests/support/fake_upstream.h"
#include "tests/support/wait.h"

namespace tcpd::test {

PlayedUpstream::PlayedUpstream(bool shut)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), address_(fresh_loopback()) {
    const int receive_buffer = 16 * 1024;  // accepted sockets inherit it
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_storage local{};
    socklen_t length = sizeof local;
    if (bind(fd_.get(), address_.get(), address_.length()) != 0 || listen(fd_.get(), shut ? 0 : 64) != 0 ||
        getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&local), &length) != 0) {
        throw Failed("could not listen");
    }
    address_ = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&local), length);
    if (!shut) return;
    // A backlog of 0 holds one connection that nobody accepts; no other handshake is answered then.
    filler_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(filler_.get(), address_.get(), address_.length()) != 0) throw Failed("could not connect");
}

// Those who dialled meanwhile try again within seconds.
void PlayedUpstream::open() {
    UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
    listen(fd_.get(), 64);
}

FramedClient PlayedUpstream::accept() const {
    pollfd poller{fd_.get(), POLLIN, 0};
    if (poll(&poller, 1, static_cast<int>(kPatience.count())) != 1) throw Failed("nobody dialled");
    return FramedClient(UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
}

std::jthread echo_all(const FramedClient& server) {
    return std::jthread([fd = server.fd()] {
        const auto was_interrupted = [](ssize_t result) { return result < 0 && errno == EINTR; };
        std::vector<char> buffer(64 * 1024);
        for (;;) {
            const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
            if (was_interrupted(got)) continue;
            if (got <= 0) break;
            for (ssize_t at = 0; at < got;) {
                const ssize_t sent =
                    send(fd, buffer.data() + at, static_cast<size_t>(got - at), MSG_NOSIGNAL);
                if (sent <= 0 && !was_interrupted(sent)) return;
                at += std::max<ssize_t>(sent, 0);
            }
        }
        shutdown(fd, SHUT_WR);
    });
}

}  // namespace tcpd::test
