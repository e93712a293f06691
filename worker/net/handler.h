#pragma once

// What decides about a listener's connections, as worker/net sees it; implemented above (worker/handler). One
// object per listener; whatever is per connection lies in its record. One virtual call a wake-up, none a
// byte. Nobody here ends a connection: who calls does, last. If the process dies in here, its successor calls
// `on_bytes` again with the same bytes, or the other calls for a connection that is still in the state that
// they are made in. Worker only.

#include <cstdint>

#include "daemon/slot/journal.h"
#include "worker/net/connection.h"

namespace tcpd::worker {

// Bytes in slot memory.
struct Bytes {
    uint64_t at = 0;  // offset
    uint32_t count = 0;
};

// What becomes of the first `consumed` of the bytes that a handler was given, in one commit: `run`, which
// lies inside of them, is sent to `to`, or nothing to nobody. With bytes left over it is asked again.
struct Step {
    uint32_t consumed = 0;
    Connection to;
    Bytes run;
};

class Handler {
public:
    virtual ~Handler() = default;

    // At least one is consumed. What of slot memory changes with it goes into `changes`, at most 4 words.
    virtual Step on_bytes(Connection from, Bytes received, slot::Journal::Redo& changes) = 0;
    // Whose output fills by what is read from `from`: reading pauses by it, the end of input is passed on to
    // it.
    virtual Connection sink_of(Connection from) = 0;
    // Whose input fills the output of `to`; none: nobody's.
    virtual Connection source_of(Connection to) = 0;

    // In what state a connection begins: `open`, or `waiting` if it is not to be read yet.
    virtual slot::State first_state() const { return slot::State::open; }
    // A new connection, registered; or one that a successor found waiting without a peer.
    virtual void on_accepted(Connection) {}
    // A successor found it dialing.
    virtual void on_resumed(Connection) {}
    // A dialled connection is there, or it failed.
    virtual void on_dialled(Connection) {}
    virtual void on_dial_failed(Connection, int /*sys_errno*/) {}
};

}  // namespace tcpd::worker
