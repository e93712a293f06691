#pragma once

// What decides about a listener's connections, as worker/net sees it; implemented above (worker/handler). One
// object per listener; whatever is per connection lies in its record. One virtual call a wake-up, none a
// byte. Nobody here ends a connection: who calls does, last. If the process dies in here, its successor calls
// `on_bytes` again with the same bytes, or the other calls for a connection that is still in the state that
// they are made in. Worker only.

#include <cstdint>
#include <string_view>

#include "daemon/slot/chunk_pool.h"
#include "daemon/slot/journal.h"
#include "worker/net/connection.h"

namespace tcpd::worker {

// Bytes in slot memory.
struct Bytes {
    uint64_t at = 0;  // offset
    uint32_t count = 0;
};

// What a step needs beyond the bytes that were received; few do.
struct Addition {
    slot::ChunkId chunk = 0;      // the handler's own until now; its link says which part of it
    std::string_view reply;       // what a small chunk has room for, at most
    slot::ChunkId spent[3] = {};  // the handler's own until now, free afterwards
};

// What becomes of the first `consumed` of the bytes that a handler was given, in one commit. `to` gets the
// addition's chunk, `run` and the addition's reply, in this order, or nobody anything. With bytes left over
// it is asked again.
struct Step {
    uint32_t consumed = 0;
    Connection to;
    Bytes run;                           // of the bytes that were given
    bool is_timed = false;               // `ticks_left` may be less from now on
    bool asks_again = false;             // even if no bytes are left over
    const Addition* addition = nullptr;  // of the handler's; good until its next call
};
inline constexpr int32_t kNoDeadline = 0x7FFFFFFF;

class Handler {
public:
    virtual ~Handler() = default;

    // At least one is consumed, or the addition is of use. What of slot memory changes with it goes into
    // `changes`, at most 12 words. Chunks that it takes are checked: there may be none.
    virtual Step on_bytes(Connection from, Bytes received, slot::Changes& changes) = 0;
    // Over a budget of memory: how many bytes are received at once, at least 1 and at most a small chunk's.
    virtual uint32_t most_received(Connection) const { return slot::kSmallChunkBytes; }
    // Whose output fills by what is read from `from`: reading pauses by it, the end of input is passed on to
    // it.
    virtual Connection sink_of(Connection from) = 0;
    // Whose input fills the output of `to`; none: nobody's.
    virtual Connection source_of(Connection to) = 0;

    // Its record is about to be published: what lies beside it is made ready.
    virtual void prepare(Connection) {}
    // A client waits, unread, until another connection was dialled for it, and has that as its peer.
    virtual bool needs_peer(Connection /*client*/) const { return false; }
    // A new connection, registered; or one that waits without a peer, since a step or since a predecessor.
    virtual void on_accepted(Connection) {}
    // A successor found it dialing.
    virtual void on_resumed(Connection) {}
    // A dialled connection is there, or it failed.
    virtual void on_dialled(Connection) {}
    virtual void on_dial_failed(Connection, int /*sys_errno*/) {}

    // Once for each connection, whatever ended it: what it holds is given back.
    virtual void on_end(Connection) {}
    // Ticks until `on_due` is to be called for a connection that is open; by then it may want something else.
    virtual int32_t ticks_left(Connection) const { return kNoDeadline; }
    virtual void on_due(Connection) {}
    // It is told of drains, and ends by itself: it is closed at the end of one only.
    virtual bool says_goodbye() const { return false; }
    // All that fed `to` is out and nothing more will come. True: it began to close it, saying why, or it is
    // gone. False: what it said, if anything, goes out before the end.
    virtual bool say_last_word(Connection /*to*/) { return false; }
    // Its input has ended, which its sink was told. True: nothing more is to come for it, and it began to
    // close it.
    virtual bool close_if_answered(Connection /*from*/) { return false; }
    // Its last word is due at the end of timeouts.closing, whatever still comes for it.
    virtual bool has_last_word(Connection) const { return false; }
    // No server took it. True: it began to close it, saying why.
    virtual bool on_no_upstream(Connection /*client*/, slot::CloseReason) { return false; }
    // Output of `from` itself that is not made by what its `source_of` sends: reading from it pauses by it,
    // too.
    virtual uint64_t own_backlog(Connection) const { return 0; }
    // Bytes that were read from it wait to be handled.
    virtual bool keeps_input(Connection) const { return false; }
    // For a successor: what it keeps beside the record makes sense; its chunks are marked as used.
    virtual bool is_sound(Connection) { return true; }
    // Of a record that is not followed any more: its chunks are not its own.
    virtual void forget(Connection) {}
    // Who it is, once that is known; else empty.
    virtual std::string_view identity_of(Connection) const { return {}; }
    // Further words about it for the log, at most kMostNoteBytes; returns the end of them.
    virtual char* describe(Connection, char* text) const { return text; }
    static constexpr size_t kMostNoteBytes = 160;
};

}  // namespace tcpd::worker
