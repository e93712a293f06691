#include "daemon/slot/reason.h"

namespace tcpd::slot {

std::string_view name_of(CloseReason reason) {
    switch (reason) {
        case CloseReason::none: return "none";
        case CloseReason::finished: return "finished";
        case CloseReason::peer_reset: return "peer_reset";
        case CloseReason::idle: return "idle";
        case CloseReason::half_closed: return "half_closed";
        case CloseReason::slow_reader: return "slow_reader";
        case CloseReason::closing_timeout: return "closing_timeout";
        case CloseReason::drained: return "drained";
        case CloseReason::drain_timeout: return "drain_timeout";
        case CloseReason::upstream_refused: return "upstream_refused";
        case CloseReason::upstream_timeout: return "upstream_timeout";
        case CloseReason::upstream_reset: return "upstream_reset";
        case CloseReason::local_fault: return "local_fault";
        case CloseReason::untrusted_record: return "untrusted_record";
        case CloseReason::stuck_recovery: return "stuck_recovery";
        case CloseReason::unix_in_flight: return "unix_in_flight";
        case CloseReason::stopped: return "stopped";
        case CloseReason::unreachable: return "unreachable";
        case CloseReason::goodbye: return "goodbye";
        case CloseReason::malformed: return "malformed";
        case CloseReason::too_long: return "too_long";
        case CloseReason::stalled: return "stalled";
        case CloseReason::unauthorized: return "unauthorized";
        case CloseReason::heartbeat_lost: return "heartbeat_lost";
        case CloseReason::shed: return "shed";
        case CloseReason::no_route: return "no_route";
        case CloseReason::upstream_malformed: return "upstream_malformed";
        case CloseReason::quarantined: return "quarantined";
        case CloseReason::count: break;
    }
    return "unknown";
}

std::string_view name_of(RefuseReason reason) {
    switch (reason) {
        case RefuseReason::connections: return "connections";
        case RefuseReason::descriptors: return "descriptors";
        case RefuseReason::denied: return "denied";
        case RefuseReason::per_ip: return "per_ip";
        case RefuseReason::rate: return "rate";
        case RefuseReason::quarantined: return "quarantined";
        case RefuseReason::count: break;
    }
    return "unknown";
}

std::string_view name_of(Cause cause) {
    switch (cause) {
        case Cause::crash: return "crash";
        case Cause::reload: return "reload";
        case Cause::upgrade: return "upgrade";
        case Cause::fault_renewal: return "fault_renewal";
        case Cause::slot_lost: return "slot_lost";
        case Cause::count: break;
    }
    return "unknown";
}

}  // namespace tcpd::slot
