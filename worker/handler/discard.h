#pragma once

// Takes everything, answers nothing (RFC 863). Worker only; holds nothing.

#include "worker/net/handler.h"

namespace tcpd::worker {

class Discard : public Handler {
public:
    Step on_bytes(Connection, Bytes received, slot::Changes&) override { return {received.count, {}, {}}; }
    Connection sink_of(Connection) override { return {}; }
    Connection source_of(Connection) override { return {}; }
};

}  // namespace tcpd::worker
