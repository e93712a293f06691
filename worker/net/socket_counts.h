#pragma once

// How many bytes went through a TCP socket by the kernel's own books: how a successor learns whether a recv
// or send that its predecessor died in had done its work; and what else the kernel tells of a socket. Worker only.
//   taken = tcpi_bytes_received - SIOCINQ - F     F: the peer's FIN is in, which counts as a byte received
//   given = tcpi_bytes_acked + SIOCOUTQ - G - S   G: our FIN is out; S: a dialled socket's SYN was acked
// Source: tcp(7) TCP_INFO, SIOCINQ, SIOCOUTQ; RFC 4898 tcpEStatsAppHCThruOctets*.

#include <cstdint>

#include "daemon/base/net/address.h"
#include "worker/net/silence.h"

namespace tcpd::worker {

struct SocketCounts {
    bool is_known = false;  // false: no TCP socket
    // It was reset. Whether F is in `taken` then, the error tells (EPIPE: it is not), as long as nobody was told: F
    // is taken for 1 from then on.
    bool is_reset = false;
    uint64_t taken = 0, given = 0;
};

// `end_out`: our FIN was sent, `dialled`: by connect. Exact for a socket that no one else uses meanwhile.
SocketCounts count_bytes(int fd, bool end_out, bool dialled);

// What the kernel heard of the other end.
PeerSigns read_signs(int fd);

// A descriptor that no record accounts for.
enum class Stray { none, connected, listening, unconnected, other };
Stray look_at_stray(int fd);
// Whether `fd` is a connection to the address that `listening` listens at.
bool is_accepted_from(int fd, int listening);

// Whether a dial came back to the very socket that dialled, however the address that it went to is written.
bool is_connected_to_itself(int fd);

}  // namespace tcpd::worker
