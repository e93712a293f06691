#include "worker/handler/proxy.h"

#include <cerrno>
#include <cstring>

#include "daemon/base/log.h"
#include "worker/net/close_line.h"

namespace tcpd::worker {

using slot::CloseReason;

Proxy::Proxy(Connections& connections, Dialer& dialer, const conf::Upstream& upstream)
    : connections_(connections), dialer_(dialer), upstream_(upstream) {}

// Record::server of a client is the server that its first dial went to; dial_tries more were tried since.
void Proxy::on_accepted(Connection client) {
    if (client->dial_tries == 0) client->server = turn_++ % static_cast<uint32_t>(upstream_.servers.size());
    dial(client);
}

void Proxy::dial(Connection client) {
    for (;;) {
        const uint32_t server =
            (client->server + client->dial_tries) % static_cast<uint32_t>(upstream_.servers.size());
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

void Proxy::on_dialled(Connection dialled) {
    const Connection client = connections_.peer_of(dialled);
    if (client) connections_.publish_dial_done(dialled, client);
}

void Proxy::on_dial_failed(Connection dialled, int sys_errno) {
    const Connection client = connections_.peer_of(dialled);
    connections_.end_dial(dialled);
    if (!client) return;
    if (is_local_fault(sys_errno)) return wait_for_better_times(client, sys_errno);
    if (turn_to_next(client, sys_errno)) dial(client);
}

bool Proxy::turn_to_next(Connection client, int sys_errno) {
    ++connections_.memory().scoreboard().upstream_refusals;
    const Address& server = server_of(client->server + client->dial_tries);
    log::limited(log::Level::warn, "upstream server failed", "could not connect to {} of upstream \"{}\": {}",
                 server.text(), upstream_.name, strerror(sys_errno));
    ++client->dial_tries;
    if (client->dial_tries < upstream_.servers.size()) return true;
    end_alone(client, sys_errno == ETIMEDOUT ? CloseReason::upstream_timeout : CloseReason::upstream_refused);
    return false;
}

void Proxy::end_alone(Connection client, CloseReason why) {
    if (!connections_.rules_of(client)->handler->on_no_upstream(client, why))
        connections_.end(client, why, true);
}

void Proxy::wait_for_better_times(Connection client, int sys_errno) {
    ++connections_.memory().scoreboard().upstream_local_faults;
    log::limited(log::Level::error, "dial paused",
                 "could not dial for upstream \"{}\": {} (a limit of this machine; the server is not blamed)",
                 upstream_.name, strerror(sys_errno));
    const slot::Tick limit = connections_.rules_of(client)->dial;
    if (limit != 0 && connections_.now() - client->ended_tick > limit) {
        return end_alone(client, CloseReason::local_fault);
    }
    client->active_tick = connections_.now();
    connections_.arm(client);
}

}  // namespace tcpd::worker
