#pragma once

// The line that the log gets for each closed connection: id, listener, peer, state, reason, duration, bytes
// each way. Worker only.

#include <cstdint>
#include <string>

#include "worker/net/connection.h"
#include "worker/net/rules.h"

namespace tcpd::worker {

// At level info.
void write_close_line(Connection c, const Rules& rules, uint64_t now_ns);
// "3-1f2a": slot and serial of Record::id.
std::string connection_name(const slot::Record& record);
// "127.0.0.1:4444", "[::1]:4444", "unix".
std::string peer_name(const slot::Record& record);

}  // namespace tcpd::worker
