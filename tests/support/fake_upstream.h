#pragma once

// A server to put behind the proxy: it reads a Hello from each connection and then echoes, swallows or sends
// as told, checking every byte. A thread of the test's process; owns its sockets and the thread.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include "daemon/base/net/address.h"
#include "daemon/base/unique_fd.h"
#include "tests/support/exact_endpoint.h"

namespace tcpd::test {

struct UpstreamOptions {
    std::string unix_path;   // empty: TCP, on an address of its own
    int receive_buffer = 0;  // SO_RCVBUF
    int segment = 0;         // TCP_MAXSEG
    FrameShape frames;       // of all streams, each Hello in the first one
};

struct UpstreamResults {
    uint64_t accepted = 0, finished = 0, reset = 0, early_end = 0, wrong = 0;
    uint64_t sent = 0, received = 0;  // also of those still open

    uint64_t ended() const { return finished + reset + early_end + wrong; }
};

class FakeUpstream {
public:
    explicit FakeUpstream(const UpstreamOptions& options = {});
    FakeUpstream(const FakeUpstream&) = delete;
    ~FakeUpstream();

    // As a config names it: "127.0.0.1:41234", "unix:/path".
    std::string text() const { return address_.text(); }
    const Address& address() const { return address_; }
    UpstreamResults results() const;
    // Once none of its connections is open.
    UpstreamResults settled() const;

private:
    class ServerEnd;
    void serve();
    void accept_all();
    bool pace();
    void set_interest(int fd);
    void on_event(int fd, uint32_t events);
    void end(int fd, Outcome outcome);

    FrameShape frames_;
    Address address_;
    UniqueFd listener_, epoll_, stop_;
    std::unordered_map<int, std::unique_ptr<ServerEnd>> ends_;
    std::atomic<uint64_t> accepted_{0}, finished_{0}, reset_{0}, early_end_{0}, wrong_{0}, sent_{0},
        received_{0};
    std::thread thread_;
};

// 127.x.y.z, port 0: what the kernel learnt of earlier connections (their reordering, say, makes for large
// buffers) goes by address.
Address fresh_loopback();

// A TCP port of this machine that was free just now, for a program that cannot choose one by itself.
uint16_t free_port();

// A TCP port of this machine that nothing listens on: dialling it is refused. Held, so that nobody else gets
// it.
class RefusingPort {
public:
    RefusingPort();
    std::string text() const { return address_.text(); }

private:
    Address address_;
    UniqueFd fd_;
};

// A TCP port whose backlog is full: dialling it gets no answer.
class SilentPort {
public:
    SilentPort();
    std::string text() const { return address_.text(); }

private:
    Address address_;
    UniqueFd listener_, first_, second_;
};

}  // namespace tcpd::test
