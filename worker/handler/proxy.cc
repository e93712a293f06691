#include "worker/handler/proxy.h"

#include <cerrno>
#include <cstring>

#include "daemon/base/log.h"
#include "worker/net/close_line.h"
#include "worker/net/socket_counts.h"

namespace tcpd::worker {

using slot::CloseReason;

namespace {

// In Record::server of a client: the backlog of a server that was tried for it in this round was full.
constexpr uint32_t kBacklogFull = 0x08000000;
constexpr uint32_t kFirstServer = kBacklogFull - 1;

bool is_backlog_full(const Address& server, int sys_errno) { return server.is_unix() && sys_errno == EAGAIN; }

std::string cause_of(const Address& server, int sys_errno) {
    return is_backlog_full(server, sys_errno) ? "its backlog is full" : strerror(sys_errno);
}

}  // namespace

Proxy::Proxy(Connections& connections, Dialer& dialer, const conf::Upstream& upstream,
             std::atomic<uint32_t>& turn)
    : connections_(connections), dialer_(dialer), upstream_(upstream), turn_(turn) {}

// Record::server of a client is the server that its first dial went to; dial_tries more were tried since.
void Proxy::on_accepted(Connection client) {
    if (client->dial_tries == 0) client->server = turn_.fetch_add(1, std::memory_order_relaxed) % servers();
    dial(client);
}

uint32_t Proxy::next_server(Connection client) const {
    const uint32_t first = (client->server & kFirstServer) % servers();
    if (client->dial_tries == 0 || servers() == 1) return first;
    const auto begin = static_cast<uint32_t>(client->id % (servers() - 1));
    return (first + 1 + (begin + client->dial_tries - 1) % (servers() - 1)) % servers();
}

void Proxy::dial(Connection client) {
    for (;;) {
        const uint32_t server = next_server(client);
        const int error = dialer_.dial(client, server_of(server), server, upstream_.keepalive);
        if (error == 0) return;
        if (is_local_fault(error)) return wait_for_better_times(client, error);
        if (!turn_to_next(client, error)) return;
    }
}

void Proxy::on_resumed(Connection dialled) {
    const int error = dialer_.resume(dialled, server_of(dialled->server));
    if (error != 0) on_dial_failed(dialled, error);
}

// A port of the range that the kernel gives to whoever dials may be given to a dial to itself, where nobody listens
// (RFC 9293, section 3.5, simultaneous open): the client would be answered by its own words.
void Proxy::on_dialled(Connection dialled) {
    const Connection client = connections_.peer_of(dialled);
    if (!client) return;
    if (dialled.is_tcp() && is_connected_to_itself(dialled.fd())) {
        dialled.set(slot::kReset);
        return on_dial_failed(dialled, ECONNREFUSED);
    }
    connections_.publish_dial_done(dialled, client);
}

void Proxy::on_dial_failed(Connection dialled, int sys_errno) {
    const Connection client = connections_.peer_of(dialled);
    connections_.end_dial(dialled);
    if (!client) return;
    if (is_local_fault(sys_errno)) return wait_for_better_times(client, sys_errno);
    if (turn_to_next(client, sys_errno)) dial(client);
}

bool Proxy::turn_to_next(Connection client, int sys_errno) {
    ++connections_.memory().counters().upstream_refusals;
    const Address& server = server_of(next_server(client));
    log::limited(log::Level::warn, "upstream server failed", "could not connect to {} of upstream \"{}\": {}",
                 server.text(), upstream_.name, cause_of(server, sys_errno));
    if (is_backlog_full(server, sys_errno)) client->server |= kBacklogFull;
    if (++client->dial_tries < servers()) return true;
    if ((client->server & kBacklogFull) != 0) {
        client->dial_tries = 0;
        dial_again_later(client, CloseReason::upstream_refused);
    } else {
        end_alone(client,
                  sys_errno == ETIMEDOUT ? CloseReason::upstream_timeout : CloseReason::upstream_refused);
    }
    return false;
}

void Proxy::end_alone(Connection client, CloseReason why) {
    if (!connections_.rules_of(client)->handler->on_no_upstream(client, why))
        connections_.end(client, why, true);
}

void Proxy::wait_for_better_times(Connection client, int sys_errno) {
    ++connections_.memory().counters().upstream_local_faults;
    log::limited(log::Level::error, "dial paused",
                 "could not dial for upstream \"{}\": {} (a limit of this machine; the server is not blamed)",
                 upstream_.name, strerror(sys_errno));
    dial_again_later(client, CloseReason::local_fault);
}

void Proxy::dial_again_later(Connection client, CloseReason when_over) {
    const slot::Tick limit = connections_.rules_of(client)->dial;
    if (limit != 0 && connections_.now() - client->ended_tick > limit) return end_alone(client, when_over);
    client->active_tick = connections_.now();
    connections_.arm(client);
}

}  // namespace tcpd::worker
