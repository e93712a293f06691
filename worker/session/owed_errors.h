#pragma once

// The errors that a proxied client is owed and that wait for their place: behind the replies to all requests
// that went on before them. A ring in a chunk that the session record of the client's upstream names; no
// chunk while nothing waits. A view, which owns nothing and is never kept across a return to the loop. An
// entry does not change once it is in; the chunk's link says which are, through the redo log. Worker only; a
// successor finds all of it in slot memory. Source: docs/protocols.md, "What is kept, and what streams".

#include <cstdint>
#include <span>
#include <string_view>

#include "daemon/slot/chunk_pool.h"
#include "daemon/slot/journal.h"
#include "daemon/slot/session_record.h"
#include "worker/protocol/control_frame.h"
#include "worker/session/refusal.h"

namespace tcpd::worker {

class OwedErrors {
public:
    OwedErrors(slot::ChunkPool& chunks, slot::SessionRecord& of_upstream)
        : chunks_(chunks), record_(of_upstream) {}

    bool is_empty() const { return record_.owed == 0 || window().count == 0; }
    // The first one's place has come, with so many replies out.
    bool is_due(uint64_t replies) const { return !is_empty() && replies_before_next(replies) == 0; }
    // So many more replies come before the first one; not empty.
    uint32_t replies_before_next(uint64_t replies) const;

    // At the end; its place is behind `place` replies. `spent`: a chunk to release once this is committed, or
    // 0. False: there is no memory within the budget, or more wait than a large chunk holds.
    bool add(slot::Changes& changes, uint64_t place, Refusal refusal, slot::ChunkId* spent);
    // Takes from the front, as frames that `room` has place for, those whose place has come. `spent`: as
    // above.
    std::string_view take_due(slot::Changes& changes, uint64_t replies, std::span<char> room,
                              slot::ChunkId* spent);
    // Whatever their place, and the chunk stays.
    std::string_view take_any(slot::Changes& changes, std::span<char> room);
    // What is in slot memory makes sense; the chunk is marked as used.
    bool is_sound();

private:
    struct Window {
        uint32_t first = 0, count = 0;
        constexpr uint64_t pack() const { return uint64_t{first} << 32 | count; }
    };
    slot::ChunkId chunk() const { return static_cast<slot::ChunkId>(record_.owed); }
    uint32_t capacity(slot::ChunkId chunk) const {
        return chunks_.bytes(chunk) / static_cast<uint32_t>(sizeof(uint64_t));
    }
    Window window() const {
        const uint64_t range = chunks_.link(chunk()).range;
        return {static_cast<uint32_t>(range >> 32), static_cast<uint32_t>(range)};
    }
    // Place << 32 | refusal; places modulo 2^32: only differences mean anything.
    uint64_t& entry(slot::ChunkId chunk, uint32_t number) const {
        return reinterpret_cast<uint64_t*>(chunks_.data(chunk))[number % capacity(chunk)];
    }
    static bool has_come(uint64_t entry, uint64_t replies) {
        return static_cast<int32_t>(static_cast<uint32_t>(entry >> 32) - static_cast<uint32_t>(replies)) <= 0;
    }
    // Moves `now` on over what it takes; `replies`: nullptr for any.
    std::string_view take(Window& now, const uint64_t* replies, std::span<char> room) const;

    slot::ChunkPool& chunks_;
    slot::SessionRecord& record_;
};

}  // namespace tcpd::worker
