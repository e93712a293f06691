#pragma once

// Bytes both ways between a client and a server of an upstream; half-close is kept, RST is passed on. One
// upstream connection for each client. A server that refuses or does not answer in time is followed by the
// next; a fault of this machine (descriptors, ports, memory) is none of the server's and the dial is tried
// again until timeouts.dial. Holds the upstream's addresses and whose turn it is; a successor begins its turn
// anew. Worker only.

#include <cstdint>
#include <string>

#include "conf/config.h"
#include "worker/net/dial.h"
#include "worker/net/handler.h"

namespace tcpd::worker {

class Proxy : public Handler {
public:
    // `upstream` outlives this.
    Proxy(Connections& connections, Dialer& dialer, const conf::Upstream& upstream);

    Step on_bytes(Connection from, Bytes received, slot::Journal::Redo&) override {
        return {received.count, connections_.peer_of(from), received};
    }
    Connection sink_of(Connection from) override { return connections_.peer_of(from); }
    Connection source_of(Connection to) override { return connections_.peer_of(to); }
    bool needs_peer(Connection) const override { return true; }
    void on_accepted(Connection client) override;
    void on_resumed(Connection dialled) override;
    void on_dialled(Connection dialled) override;
    void on_dial_failed(Connection dialled, int sys_errno) override;

private:
    void dial(Connection client);
    // False: no server is left, the client was ended.
    bool turn_to_next(Connection client, int sys_errno);
    void end_alone(Connection client, slot::CloseReason why);
    void wait_for_better_times(Connection client, int sys_errno);
    const Address& server_of(uint32_t number) const {
        return upstream_.servers[number % upstream_.servers.size()];
    }

    Connections& connections_;
    Dialer& dialer_;
    const conf::Upstream& upstream_;
    uint32_t turn_ = 0;
};

}  // namespace tcpd::worker
