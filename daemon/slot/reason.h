#pragma once

// The closed lists that logs, counters and status share: why a connection ended, why it was not taken, what
// it lived through. The numbers are part of slot memory's format: append only. Every process.

#include <cstdint>
#include <string_view>

namespace tcpd::slot {

enum class CloseReason : uint8_t {
    none,
    finished,            // both directions ended in order
    peer_reset,          // RST from the peer (or from the peer of its pair)
    idle,                // timeouts.idle
    half_closed,         // timeouts.half_close: one direction ended, the other silent
    slow_reader,         // timeouts.slow_reader: unsent output, none of it taken
    closing_timeout,     // timeouts.closing: it could not be flushed in time
    drained,             // closed by a drain, spread over its second half
    drain_timeout,       // still open at the end of a drain
    upstream_refused,    // every server of the upstream refused
    upstream_timeout,    // timeouts.dial passed
    upstream_reset,      // RST from the upstream
    local_fault,         // descriptors, ports or memory of this machine ran out
    untrusted_record,    // its record in slot memory made no sense at adoption
    stuck_recovery,      // recovery met it three times without progress
    unix_in_flight,      // a unix socket caught between a call and its store when its worker died
    stopped,             // the daemon stopped at once
    unreachable,         // keep-alive probes or unacknowledged data ran into their limit
    goodbye,             // the client sent CLOSE
    malformed,           // the stream can't be cut into frames any further
    too_long,            // a frame over max_frame
    stalled,             // timeouts.frame: a started frame got no further byte
    unauthorized,        // wrong, missing or late authentication
    heartbeat_lost,      // PINGs unanswered
    shed,                // no memory within the budget for what it began
    no_route,            // a frame that no route takes, where the framing can't say so
    upstream_malformed,  // the upstream's stream can't be cut into frames any further
    quarantined,         // its message brought a worker down twice
    count
};

enum class RefuseReason : uint8_t {
    connections,  // limits.connections
    descriptors,  // this process has no descriptor left for it
    denied,       // allow and deny
    per_ip,       // limits.connections_per_ip
    rate,         // limits.accept_rate
    quarantined,  // its messages brought workers down again and again
    count
};

// What an adopted or lost connection lived through, or did not.
enum class Cause : uint8_t { crash, reload, upgrade, fault_renewal, slot_lost, count };

std::string_view name_of(CloseReason reason);
std::string_view name_of(RefuseReason reason);
std::string_view name_of(Cause cause);

}  // namespace tcpd::slot
