#pragma once

// Dials for a client: a socket, its record as the client's peer, a connect that does not block. Both survive
// the worker, also while connecting. Worker only. If the process dies before the record, the socket is an
// orphan that the successor closes (nothing was sent on it); after it, the successor calls connect again,
// which says how far it came (EALREADY, EISCONN, or why it failed). Source: connect(2), tcp(7).

#include "daemon/base/net/address.h"
#include "daemon/base/net/keepalive.h"
#include "worker/net/connections.h"

namespace tcpd::worker {

class Dialer {
public:
    Dialer(Connections& connections, uint32_t connection_room)
        : connections_(connections), connection_room_(connection_room) {}

    // 0: the handler will hear on_dialled or on_dial_failed. Else an errno: nothing was begun, or it failed
    // at once and nothing is left of it.
    int dial(Connection client, const Address& to, uint32_t server, const Keepalive& keepalive);
    // For a successor that found a connection dialing. 0: the handler will hear how it ends. Else an errno:
    // it has failed, and its record is still there.
    int resume(Connection dialled, const Address& to);

private:
    slot::Record make_record(Connection client, const Address& to, uint32_t server) const;

    Connections& connections_;
    uint32_t connection_room_;
};

}  // namespace tcpd::worker
