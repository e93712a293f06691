#pragma once

// TCP keep-alive: the kernel gives up an idle peer that does not answer its probes. Who is owed bytes is given up
// after the same time by its worker (worker/net/silence.h). The master sets it on listening sockets, whose accepted
// ones inherit it; a worker on those that it dials. Source: tcp(7).

#include "daemon/base/clock.h"

namespace tcpd {

// The grammar keeps it within what the kernel takes.
struct Keepalive {
    Duration idle = std::chrono::seconds(60);
    Duration interval = std::chrono::seconds(10);
    unsigned probes = 6;
    // Nothing was heard for so long: the peer is gone.
    Duration patience() const { return idle + interval * probes; }
    bool operator==(const Keepalive&) const = default;
};

// False: errno says why.
bool set_keepalive(int fd, const Keepalive& keepalive);

}  // namespace tcpd
