#pragma once

// Bytes both ways between a client and a server of an upstream; half-close is kept, RST is passed on. One
// upstream connection for each client. A server that refuses or does not answer in time is followed by the
// next; a fault of this machine (descriptors, ports, memory) is none of the server's, and a unix server whose backlog
// is full is there all the same: the dial is tried again until timeouts.dial. Whose turn it is, all slots count
// together. Worker only. Source: connect(2).

#include <atomic>
#include <cstdint>
#include <string>

#include "conf/config.h"
#include "worker/net/dial.h"
#include "worker/net/handler.h"

namespace tcpd::worker {

class Proxy : public Handler {
public:
    // `upstream` outlives this; `turn` is the one of all slots.
    Proxy(Connections& connections, Dialer& dialer, const conf::Upstream& upstream,
          std::atomic<uint32_t>& turn);

    Step on_bytes(Connection from, Bytes received, slot::Changes&) override {
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
    // The server that is tried next: first the one whose turn it was, then the others, beginning with another one for
    // each client, so that those of a server that is gone are spread over all.
    uint32_t next_server(Connection client) const;
    // False: no server is left, and the client was ended or waits.
    bool turn_to_next(Connection client, int sys_errno);
    void end_alone(Connection client, slot::CloseReason why);
    void wait_for_better_times(Connection client, int sys_errno);
    void dial_again_later(Connection client, slot::CloseReason when_over);
    uint32_t servers() const { return static_cast<uint32_t>(upstream_.servers.size()); }
    const Address& server_of(uint32_t number) const { return upstream_.servers[number % servers()]; }

    Connections& connections_;
    Dialer& dialer_;
    const conf::Upstream& upstream_;
    std::atomic<uint32_t>& turn_;
};

}  // namespace tcpd::worker
