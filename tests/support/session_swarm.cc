#include "tests/support/session_swarm.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace tcpd::test {

using worker::ControlType;

namespace {

constexpr uint32_t kEchoed = 7;
constexpr size_t kOpenAhead = 200;  // below any backlog

uint32_t number(std::string_view bytes) {
    uint32_t value = 0;
    for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
    return value;
}

std::string name_of_ping(size_t at, uint32_t serial) {
    return std::to_string(at) + "/" + std::to_string(serial);
}

}  // namespace

SessionSwarm::SessionSwarm(size_t count)
    : sessions_(std::make_unique<Session[]>(count)), count_(count), poller_(epoll_create1(EPOLL_CLOEXEC)) {}

SessionSwarm::~SessionSwarm() = default;

void SessionSwarm::open(const Address& address, std::string_view token) {
    const std::string auth = frame_bytes(ControlType::auth, credential(token));
    for (size_t at = 0; at < count_; ++at) {
        Session& session = sessions_[at];
        session.fd.reset(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!session.fd || connect(session.fd.get(), address.get(), address.length()) != 0)
            fail(at, std::string("could not connect: ") + std::strerror(errno));
        fcntl(session.fd.get(), F_SETFL, O_NONBLOCK);
        epoll_event event{.events = EPOLLIN, .data = {.u64 = at}};
        epoll_ctl(poller_.get(), EPOLL_CTL_ADD, session.fd.get(), &event);
        send(session, auth);
        if (at + 1 - known_ >= kOpenAhead) {
            run_until("AUTH_OK", [&] { return at + 1 - known_ < kOpenAhead; });
        }
    }
    run_until("all AUTH_OK", [&] { return known_ == count_; });
}

void SessionSwarm::run_until(const std::string& what, const std::function<bool()>& done, Milliseconds limit) {
    const auto end = SteadyClock::now() + limit;
    while (!done()) {
        if (SteadyClock::now() > end) throw Failed("gave up waiting for " + what);
        turn(5);
    }
}

void SessionSwarm::send_pings() {
    for (size_t at = 0; at < count_; ++at) {
        Session& session = sessions_[at];
        send(session, frame_bytes(ControlType::ping, name_of_ping(at, session.asked++)));
        ++asked_;
        if (at % 1000 == 0) turn(0);
    }
}

void SessionSwarm::send_frames() {
    for (size_t at = 0; at < count_; ++at) {
        send(sessions_[at], frame_bytes(kEchoed, std::to_string(at)));
        ++sent_;
        if (at % 1000 == 0) turn(0);
    }
}

void SessionSwarm::turn(int timeout_ms) {
    epoll_event events[512];
    const int ready = epoll_wait(poller_.get(), events, 512, timeout_ms);
    for (int i = 0; i < ready; ++i) read(events[i].data.u64);
}

void SessionSwarm::read(size_t at) {
    Session& session = sessions_[at];
    char buffer[4096];
    const ssize_t got = recv(session.fd.get(), buffer, sizeof buffer, 0);
    if (got == 0) fail(at, "its connection was closed");
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) fail(at, std::string("its connection was lost: ") + std::strerror(errno));
    session.in.append(buffer, static_cast<size_t>(got));
    while (session.in.size() >= worker::kTcpdHeaderBytes) {
        const std::string_view in = session.in;
        const size_t total = worker::kTcpdHeaderBytes + number(in.substr(7, 4));
        if (in.size() < total) return;
        take(at, number(in.substr(5, 2)),
             in.substr(worker::kTcpdHeaderBytes, total - worker::kTcpdHeaderBytes));
        session.in.erase(0, total);
    }
}

void SessionSwarm::take(size_t at, uint32_t type, std::string_view payload) {
    Session& session = sessions_[at];
    if (type == type_of(ControlType::ping)) {
        ++server_pings_;
        return send(session, frame_bytes(ControlType::pong, payload));
    }
    if (type == type_of(ControlType::auth_ok) && !session.is_known) {
        session.is_known = true;
        ++known_;
    } else if (type == type_of(ControlType::pong) && payload == name_of_ping(at, session.answered)) {
        ++session.answered;
        ++pongs_;
    } else if (type == kEchoed && payload == std::to_string(at)) {
        ++echoes_;
    } else {
        fail(at, "a frame came that it did not ask for: type " + std::to_string(type) + " " +
                     std::string(payload));
    }
}

void SessionSwarm::send(Session& session, std::string_view bytes) {
    const ssize_t sent = ::send(session.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(bytes.size()))
        fail(static_cast<size_t>(&session - sessions_.get()),
             std::string("could not send: ") + std::strerror(errno));
}

void SessionSwarm::fail(size_t at, const std::string& what) const {
    throw Failed("session " + std::to_string(at) + ": " + what);
}

}  // namespace tcpd::test
