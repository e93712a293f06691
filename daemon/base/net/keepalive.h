#pragma once

// TCP keep-alive, and TCP_USER_TIMEOUT to match: a peer that does not answer is given up after the same time
// whether bytes wait for it or not. The master sets it on listening sockets, whose accepted ones inherit it;
// a worker on those that it dials. Source: tcp(7).

#include "daemon/base/clock.h"

namespace tcpd {

// The grammar keeps it within what the kernel takes.
struct Keepalive {
    Duration idle = std::chrono::seconds(60);
    Duration interval = std::chrono::seconds(10);
    unsigned probes = 6;  // TCP_USER_TIMEOUT is idle + interval * probes
    bool operator==(const Keepalive&) const = default;
};

// False: errno says why.
bool set_keepalive(int fd, const Keepalive& keepalive);

}  // namespace tcpd
