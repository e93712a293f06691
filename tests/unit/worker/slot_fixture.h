#pragma once

// A slot without processes: memory, an epoll set, one echo and one proxy listener's rules, TCP connections
// over loopback. What a successor does is tried by making a second Connections over the same memory.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <memory>
#include <string>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/slot/control_message.h"
#include "worker/handler/discard.h"
#include "worker/handler/echo.h"
#include "worker/recovery.h"

namespace tcpd::worker {

struct PairHandler : Handler {
    explicit PairHandler(Connections& c) : connections(c) {}
    Step on_bytes(Connection from, Bytes bytes, slot::Changes&) override {
        return {bytes.count, connections.peer_of(from), bytes};
    }
    Connection sink_of(Connection from) override { return connections.peer_of(from); }
    Connection source_of(Connection to) override { return connections.peer_of(to); }
    bool needs_peer(Connection) const override { return true; }
    Connections& connections;
};

// One process's view of the slot.
struct Seated {
    Seated(slot::SlotMemory& memory, slot::SharedCounts& counts, int addresses_fd, int buffers_fd,
           int poller_fd)
        : addresses(std::move(*slot::AddressCounts::map(addresses_fd))),
          connections(memory, counts, addresses, buffers_fd, poller_fd),
          pair(connections),
          counts_(counts) {
        connections.set_now(monotonic_ns());
        set(0, echo, memory);
        set(1, pair, memory);
    }
    void set(uint32_t id, Handler& handler, slot::SlotMemory& memory) {
        rules[id].id = id;
        rules[id].name = id == 0 ? "echo" : "proxy";
        rules[id].output_high_bytes = 256 * 1024;
        rules[id].output_low_bytes = 64 * 1024;
        rules[id].handler = &handler;
        rules[id].counters = &memory.counters_of(id);
        connections.set_rules(&rules[id]);
    }
    void adopt(bool first = false) {
        Recovery(connections, counts_, listeners).adopt(first, slot::Cause::crash);
    }
    // Handles events until there are none.
    void turn() {
        connections.set_now(monotonic_ns());
        epoll_event events[64];
        for (int n = connections.poller().poll(events, 64); n > 0;
             n = connections.poller().poll(events, 64)) {
            for (int i = 0; i < n; ++i) connections.on_event(events[i]);
        }
    }
    slot::AddressCounts addresses;
    Connections connections;
    Echo echo;
    PairHandler pair;
    Rules rules[2];
    slot::SharedCounts& counts_;
    std::vector<std::unique_ptr<Listener>> listeners;
};

// In an image no connection has a number below kFirstListenFd.
struct LowNumbersTaken {
    LowNumbersTaken() {
        int fd = 0;
        while (fd < slot::kFirstListenFd) fd = fcntl(0, F_DUPFD_CLOEXEC, 0);
        ::close(fd);
    }
};

struct SlotFixture {
    SlotFixture()
        : fds(std::move(*slot::SlotMemory::create({0, 1024}))),
          memory(std::move(*slot::SlotMemory::map(fds.board.get(), fds.buffers.get()))),
          counts_fd(std::move(*slot::SharedCounts::create())),
          counts(std::move(*slot::SharedCounts::map(counts_fd.get()))),
          addresses_fd(std::move(*slot::AddressCounts::create(1024))),
          poller_fd(epoll_create1(EPOLL_CLOEXEC)) {
        log::set_level(log::Level::off);
        memory.worker_control().seats_taken.store(1);
        worker = seat();
        worker->adopt(true);
    }
    ~SlotFixture() {
        for (int fd = slot::kFirstListenFd; fd < 1024; ++fd) {
            if (at(fd)) ::close(fd);
        }
        log::set_level(log::Level::info);
    }
    std::unique_ptr<Seated> seat() {
        auto seated =
            std::make_unique<Seated>(memory, counts, addresses_fd.get(), fds.buffers.get(), poller_fd.get());
        seated->rules[0].connections_per_ip = connections_per_ip;
        return seated;
    }
    // The worker is gone without a word, its standby takes the seat.
    void succeed() {
        worker = seat();
        worker->adopt();
    }

    struct Ends {
        UniqueFd client;
        int server = -1;
    };
    static Ends connect_over_loopback() {
        UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int one = 1;
        setsockopt(listener.get(), SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
        setsockopt(listener.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        BOOST_REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
        BOOST_REQUIRE(listen(listener.get(), 8) == 0);
        getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
        Ends ends;
        ends.client.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        setsockopt(ends.client.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        BOOST_REQUIRE(connect(ends.client.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
        ends.server = accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        BOOST_REQUIRE(ends.server >= 0);
        return ends;
    }
    slot::Record fields(uint32_t listener, slot::State state) {
        slot::Record record{};
        slot::RecordWord word;
        word.state = state;
        record.word = word.pack();
        record.id = ++serial;
        record.peer = kNoPeer;
        record.owner = static_cast<uint16_t>(listener);
        record.opened_ns = monotonic_ns();
        return record;
    }
    Ends echo_client() {
        Ends ends = connect_over_loopback();
        worker->connections.watch(
            worker->connections.publish_accepted(ends.server, fields(0, slot::State::open), {}));
        return ends;
    }
    Connection at(int fd) { return worker->connections.at(fd); }
    static void write_all(int fd, const std::string& text) {
        BOOST_REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    // What is there without waiting; "EOF" and "RST" for ends.
    static std::string read_now(int fd) {
        char buffer[65536];
        const ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n > 0) return {buffer, static_cast<size_t>(n)};
        if (n == 0) return "EOF";
        return errno == ECONNRESET ? "RST" : "";
    }
    uint64_t lost(uint32_t listener = 0) {
        return memory.counters_of(listener).lost[static_cast<size_t>(slot::Cause::crash)];
    }

    LowNumbersTaken low_numbers;
    slot::SlotFds fds;
    slot::SlotMemory memory;
    UniqueFd counts_fd;
    slot::SharedCounts counts;
    UniqueFd addresses_fd;
    UniqueFd poller_fd;
    uint64_t serial = 0;
    uint64_t connections_per_ip = 0;  // of the echo listener, from the next who takes the seat
    std::unique_ptr<Seated> worker;
};

}  // namespace tcpd::worker
