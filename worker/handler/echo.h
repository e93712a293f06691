#pragma once

// Every byte back to where it came from. Worker only; holds nothing.

#include "worker/net/handler.h"

namespace tcpd::worker {

class Echo : public Handler {
public:
    Step on_bytes(Connection from, Bytes received, slot::Changes&) override {
        return {received.count, from, received};
    }
    Connection sink_of(Connection from) override { return from; }
    Connection source_of(Connection to) override { return to; }
};

}  // namespace tcpd::worker
