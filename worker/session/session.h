#pragma once

// A framed connection's session: a view of its record in slot memory, beside the one of the connection. Never
// kept across a return to the loop. Owns nothing. Worker only; a successor finds all of it in slot memory.
//
//   state           is                              taken        left by
//   INIT            accepted; its record is made    nothing      that: at once
//   AUTHENTICATING  SessionState::authenticating    AUTH, CLOSE  AUTH; 401: CLOSING
//   JOINING         SessionState::joining           nothing      its upstream is there; 503: CLOSING
//   ACTIVE          SessionState::active            everything   CLOSE, a fault, end of a grace: CLOSING
//   CLOSING         slot::kClosing, in the record   nothing      its output is out, or a time-out
//   CLOSED          slot::State::free               -            -
//
// AUTHENTICATING is for listeners with `auth` only, JOINING for those of them that are proxies. Source:
// docs/protocols.md, "Sessions".

#include <cstdint>
#include <cstring>
#include <string_view>

#include "daemon/slot/journal.h"
#include "daemon/slot/session_record.h"
#include "worker/protocol/framing.h"

namespace tcpd::worker {

class Session {
public:
    explicit Session(slot::SessionRecord& record) : record_(record) {}

    slot::SessionRecord& record() const { return record_; }
    slot::SessionWord word() const { return slot::SessionWord::unpack(record_.word); }
    bool is_active() const { return word().state == slot::SessionState::active; }
    // Some bytes of a frame are there, and not all of it.
    bool is_inside_frame() const { return record_.progress[1] != 0; }
    slot::ChunkId chunk() const { return static_cast<slot::ChunkId>(record_.in); }
    std::string_view id() const { return {reinterpret_cast<const char*>(record_.id), sizeof record_.id}; }
    std::string_view identity() const { return {record_.identity, record_.identity_bytes}; }

    FrameProgress progress() const {
        FrameProgress p;
        p.total_bytes = record_.progress[0];
        p.seen_bytes = record_.progress[1];
        const uint64_t rest = record_.progress[2];
        p.type = static_cast<uint32_t>(rest);
        p.header_bytes = static_cast<uint16_t>(rest >> 32);
        p.matched_bytes = static_cast<uint8_t>(rest >> 48);
        p.is_header_known = (rest >> 56) != 0;
        return p;
    }
    // Of a frame that is incomplete and without fault.
    void set_progress(slot::Changes& changes, const FrameProgress& p) const {
        changes.set(&record_.progress[0], p.total_bytes);
        changes.set(&record_.progress[1], p.seen_bytes);
        changes.set(&record_.progress[2], uint64_t{p.is_header_known} << 56 |
                                              uint64_t{p.matched_bytes} << 48 |
                                              uint64_t{p.header_bytes} << 32 | p.type);
    }
    // `edit` gets the word as it would be in force.
    template <typename Edit>
    void change_word(slot::Changes& changes, Edit&& edit) const {
        changes.change<slot::SessionWord>(&record_.word, edit);
    }
    // A byte has come. It changes alone: whoever takes the bytes in hand again does the same.
    void forget_pings() const {
        slot::SessionWord now = word();
        if (now.pings == 0) [[likely]]
            return;
        now.pings = 0;
        *static_cast<volatile uint64_t*>(&record_.word) = now.pack();
    }
    void set_chunk(slot::Changes& changes, slot::ChunkId chunk) const { changes.set(&record_.in, chunk); }
    // Before a word names it.
    void set_identity(std::string_view identity) const {
        const size_t bytes = std::min(identity.size(), sizeof record_.identity);
        std::memcpy(record_.identity, identity.data(), bytes);
        record_.identity_bytes = static_cast<uint8_t>(bytes);
    }

private:
    slot::SessionRecord& record_;
};

}  // namespace tcpd::worker
