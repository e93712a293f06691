#include "master/listen/listeners.h"

namespace tcpd::master {

namespace {

Result<void> open_tcp_group(const conf::Listener& listener, unsigned slots, ListeningAddress& opened) {
    if (opened.address.port() != 0) {
        if (auto free = probe(listener, opened.address); !free) return free;
    }
    for (uint32_t slot = 0; slot < slots; ++slot) {
        auto socket = listen_tcp(listener, opened.address);
        if (!socket) return std::move(socket.error());
        opened.group.add(slot, socket->get());
        opened.sockets.push_back(std::move(*socket));
    }
    return {};
}

Result<void> open_address(const conf::Listener& listener, unsigned slots, ListeningAddress& opened) {
    if (!opened.address.is_unix()) return open_tcp_group(listener, slots, opened);
    auto made = listen_unix(listener, opened.address);
    if (!made) return std::move(made.error());
    opened.sockets.push_back(std::move(made->socket));
    opened.file = std::move(made->file);
    return {};
}

}  // namespace

Result<Listeners> Listeners::open(const conf::Config& config, unsigned slots) {
    Listeners all;
    for (uint32_t i = 0; i < config.listeners.size(); ++i) {
        const conf::Listener& listener = config.listeners[i];
        for (uint32_t k = 0; k < listener.listen.size(); ++k) {
            ListeningAddress opened{.listener = i, .index = k, .address = listener.listen[k]};
            if (auto done = open_address(listener, slots, opened); !done) return std::move(done.error());
            all.addresses_.push_back(std::move(opened));
        }
    }
    return all;
}

Listeners::~Listeners() {
    for (const ListeningAddress& opened : addresses_) remove_file(opened.file);
}

std::vector<slot::BirthListener> Listeners::describe_listeners() const {
    std::vector<slot::BirthListener> list;
    for (const ListeningAddress& opened : addresses_) {
        if (!list.empty() && list.back().id == opened.listener) continue;
        list.push_back({.id = opened.listener,
                        .bundle_fd = slot::kBundleFd,
                        .index = opened.listener,
                        .spread = 0,
                        .drain_begin_ns = 0,
                        .drain_end_ns = 0});
    }
    return list;
}

std::vector<slot::ListenSocket> Listeners::describe_sockets() const {
    std::vector<slot::ListenSocket> list;
    int fd = slot::kFirstListenFd;
    for (const ListeningAddress& opened : addresses_) {
        list.push_back({.listener_id = opened.listener,
                        .fd = fd++,
                        .is_unix = opened.address.is_unix() ? 1U : 0U,
                        .closing = 0});
    }
    return list;
}

std::vector<int> Listeners::sockets_of(uint32_t slot) const {
    std::vector<int> sockets;
    for (const ListeningAddress& opened : addresses_) sockets.push_back(opened.socket_of(slot));
    return sockets;
}

Result<void> Listeners::steer(const std::vector<uint32_t>& slots) const {
    for (const ListeningAddress& opened : addresses_) {
        if (auto done = opened.group.steer(slots); !done) return done;
    }
    return {};
}

void Listeners::close_sockets() {
    for (ListeningAddress& opened : addresses_) {
        opened.group = {};
        for (UniqueFd& socket : opened.sockets) socket.reset();
    }
}

}  // namespace tcpd::master
