#pragma once

// What a listener's configuration means for its connections, ready for the data path: times in ticks, the
// handler, the counters. One per stable id, as old as the image. Worker only.

#include <cstdint>
#include <string>

#include "daemon/base/net/address_block.h"
#include "daemon/base/rate.h"
#include "daemon/slot/layout.h"
#include "worker/net/handler.h"

namespace tcpd::worker {

struct Rules {
    uint32_t id = 0;  // stable
    std::string name;
    slot::Tick idle = 0, half_close = 0, closing = 0, slow_reader = 0, dial = 0;  // 0: no limit
    // Nothing is heard of a client, or a server, that is to acknowledge something; 0: nobody looks.
    slot::Tick client_gone = 0, server_gone = 0;
    // Of a listener that a reload removed or replaced; drain_until_ns 0: no limit, or no drain at all.
    uint64_t drain_begin_ns = 0, drain_until_ns = 0;
    bool drain_spread = false;
    uint64_t output_high_bytes = 0, output_low_bytes = 0;
    uint64_t connections = 0;                    // over all workers; 0: no limit
    uint64_t connections_per_ip = 0;             // the same; IPv6 by its /64
    RateLimit accept_rate;                       // the same
    uint32_t backlog = 4096;                     // of its listening sockets, as they asked for it
    AddressSet allow, deny;                      // allow empty: everyone
    Handler* handler = nullptr;                  // borrowed
    slot::ListenerCounters* counters = nullptr;  // in slot memory
    uint8_t needs = 1;                           // the level (daemon/slot/parts.h) that its connections need
};

// Rounded up, so that a time-out is never early; 0 stays 0.
inline constexpr slot::Tick ticks_of(uint64_t nanoseconds) {
    return static_cast<slot::Tick>((nanoseconds + (1u << 24) - 1) >> 24);
}

}  // namespace tcpd::worker
