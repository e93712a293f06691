#pragma once

// The walk's table: a row for each fault point of daemon/base/fault_points.def, saying how it is provoked and
// where it must be reached. A point without a row does not compile. Read by fault_walk.cc and tests/fault.

#include <array>
#include <cstddef>

#include "daemon/base/fault_point.h"

namespace tcpd::test {

// Who handles the connections, and which way the bytes go.
enum Side : unsigned {
    echo = 1,
    discard = 2,
    client_side = 4,
    upstream_side = 8,
    // Echoed frames of the tcpd protocol:
    framed = 16,          // short ones, cut anywhere, PINGs among them
    framed_chunks = 32,   // up to 64 KiB, gathered before they go back
    framed_long = 64,     // longer ones, passed on as they come
    framed_auth = 128,    // behind an AUTH that comes byte by byte
    framed_closed = 256,  // then what is no frame: an ERROR closes
    // Others of them, PINGs among them:
    framed_discard = 512,  // taken
    framed_routes = 1024,  // each answered as its type says, or not
    // Frames that go on to an upstream, which sends them back:
    proxied = 2048,            // short ones
    proxied_chunks = 4096,     // as framed_chunks
    proxied_long = 8192,       // as framed_long
    proxied_goodbye = 16384,   // then CLOSE
    proxied_broken = 32768,    // then what is no frame
    proxied_lengths = 65536,   // of a framing that is not tcpd's
    proxied_auth = 131072,     // as framed_auth
    proxied_refused = 262144,  // some of them refused by an ERROR in its place
    // Echoed, of a framing that is not tcpd's, and more than limits.message_rate lets through at once:
    held_back = 524288,
    // As proxied_lengths, what comes back is not cut:
    proxied_raw_replies = 1048576,
};

// In what condition they are.
enum Case : unsigned {
    plain = 1,
    pressure = 2,  // tiny socket buffers, a slow reader, a low water mark
    client_ends_first = 4,
    upstream_ends_first = 8,
    urgent_byte = 16,  // sent before
    unix_socket = 32,  // on both sides; one connection may be closed for each kill
    limited = 64,      // limits.connections_per_ip
    refused = 128,     // the upstream has another server, which refuses
    // The peer resets each connection, in the middle of what it got:
    client_resets = 256,
    upstream_resets = 512,
};

inline constexpr unsigned kProxiedFrames = proxied | proxied_chunks | proxied_long | proxied_goodbye |
                                           proxied_broken | proxied_lengths | proxied_auth | proxied_refused |
                                           proxied_raw_replies;
inline constexpr unsigned kProxy = client_side | upstream_side | kProxiedFrames;
inline constexpr unsigned kChunks = framed_chunks | proxied_chunks;
inline constexpr unsigned kLong = framed_long | proxied_long;
inline constexpr unsigned kFramed = framed | framed_chunks | framed_long | framed_auth | framed_closed |
                                    framed_discard | framed_routes | kProxiedFrames | held_back;
inline constexpr unsigned kSending = echo | kProxy | kFramed;
// What is gathered, or tcpd's own, goes out behind what waits.
inline constexpr unsigned kFlushing = kChunks | framed_discard | framed_routes;
inline constexpr unsigned kSendingAtOnce = kSending & ~(kChunks | framed_discard);
inline constexpr unsigned kAllSides = kSending | discard;
inline constexpr unsigned kAllCases = 1023;
inline constexpr unsigned kResets = client_resets | upstream_resets;  // nobody is to get the end of input

enum class Provoked {
    by_traffic,      // a worker passes it as it serves
    by_succession,   // a successor passes it once it has a standby of its own
    by_two_deaths,   // a successor passes it if its predecessor died between a call and its store
    by_lone_holder,  // a successor passes it before that: to die there loses the slot
                     // (tests/fault/lone_holder.cc)
    by_drain,        // tests/fault/drain.cc
    by_renewal,      // tests/fault/renewal.cc
};

struct Row {
    Provoked how;
    unsigned sides = kAllSides;  // where it must act, not only may
    unsigned cases = kAllCases;
    unsigned always = 0;  // sides where it must act in other cases, too
};

namespace row {

inline constexpr Row accept_done_not_published{Provoked::by_traffic};
inline constexpr Row accept_published_not_registered{Provoked::by_traffic};
inline constexpr Row recv_before{Provoked::by_traffic};
inline constexpr Row recv_done_not_published{Provoked::by_traffic};
inline constexpr Row recv_published_not_handled{Provoked::by_traffic};
inline constexpr Row step_not_begun{Provoked::by_traffic};
inline constexpr Row send_before{Provoked::by_traffic, kSendingAtOnce};
inline constexpr Row send_done_not_published{Provoked::by_traffic, kSendingAtOnce};
inline constexpr Row flush_before{Provoked::by_traffic, kSending, pressure, kFlushing};
inline constexpr Row flush_done_not_published{Provoked::by_traffic, kSending, pressure, kFlushing};
inline constexpr Row flush_published_not_pressed{Provoked::by_traffic, kSending, pressure, kFlushing};
inline constexpr Row journal_filled_not_published{Provoked::by_traffic};
inline constexpr Row journal_count_published_not_applied{Provoked::by_traffic};
inline constexpr Row journal_half_applied{Provoked::by_traffic};
inline constexpr Row journal_applied_not_idle{Provoked::by_traffic};
inline constexpr Row interest_before_change{Provoked::by_traffic, kSending, pressure};
inline constexpr Row shutdown_published_not_called{Provoked::by_traffic, kProxy | framed_closed,
                                                   kAllCases & ~kResets};
inline constexpr Row shutdown_called{Provoked::by_traffic, kProxy | framed_closed, kAllCases & ~kResets};
inline constexpr Row dial_socket_not_published{Provoked::by_traffic, kProxy};
inline constexpr Row dial_published_not_connected{Provoked::by_traffic, kProxy};
inline constexpr Row dial_connecting{Provoked::by_traffic, kProxy};
inline constexpr Row dial_connected_not_published{Provoked::by_traffic, kProxy};
inline constexpr Row close_marked_not_begun{Provoked::by_traffic};
inline constexpr Row close_unregistered{Provoked::by_traffic};
inline constexpr Row close_done_not_published{Provoked::by_traffic};
inline constexpr Row close_between_pair{Provoked::by_traffic, kProxy};
inline constexpr Row seat_taken_not_settled{Provoked::by_lone_holder};
inline constexpr Row settle_done_not_cloned{Provoked::by_lone_holder};
inline constexpr Row seat_cloned_not_told{Provoked::by_succession};
inline constexpr Row adopt_before{Provoked::by_succession};
inline constexpr Row recovery_counted_not_published{Provoked::by_two_deaths, kAllSides,
                                                    kAllCases & ~unix_socket};
inline constexpr Row adopt_done{Provoked::by_succession};
inline constexpr Row drain_begun{Provoked::by_drain};
inline constexpr Row loop_idle{Provoked::by_traffic};
inline constexpr Row renewal_parked_not_sent{Provoked::by_renewal};
inline constexpr Row renewal_half_sent{Provoked::by_renewal};
inline constexpr Row renewal_received_not_committed{Provoked::by_renewal};
inline constexpr Row renewal_committed_not_adopted{Provoked::by_renewal};

}  // namespace row

inline constexpr size_t kPoints = static_cast<size_t>(fault::Point::count);

#define TCPD_FAULT_ROW(name, text) row::name,
inline constexpr std::array<Row, kPoints> kRows{
#include "daemon/base/fault_points.def"
};
#undef TCPD_FAULT_ROW

#define TCPD_FAULT_ROW(name, text) text,
inline constexpr std::array<const char*, kPoints> kPointNames{
#include "daemon/base/fault_points.def"
};
#undef TCPD_FAULT_ROW

}  // namespace tcpd::test
