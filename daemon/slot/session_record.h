#pragma once

// What a connection of a framed listener has beside its record: 192 bytes in slot memory, index = descriptor;
// no page of it is touched where frames are not cut. Writer: the worker that holds the seat; its successor
// trusts no field before it was checked. `word`, `in`, `later`, `progress`, `messages`, `rate_ns` and `owed`
// change through the redo log together with Record::received (journal.h), the rest before `word` names it.
// Cleared when the connection begins.

#include <cstddef>
#include <cstdint>

namespace tcpd::slot {

enum class SessionState : uint8_t {
    authenticating,  // AUTH is awaited
    active,
    joining,  // AUTH was right and is not answered yet: its upstream is being dialled
};

// Bits of SessionWord::flags.
inline constexpr uint16_t kPassingOn = 1;  // the frame in hand is passed on as it comes
inline constexpr uint16_t kDropping = 2;   // the rest of the frame in hand is read and dropped
inline constexpr uint16_t kLastWord = 4;   // what is put off comes behind all that the upstream still sends

struct SessionWord {
    SessionState state = SessionState::active;
    uint8_t pings = 0;  // sent since the last byte came in
    uint16_t flags = 0;
    uint32_t grace_end = 0;  // tick that the last GOAWAY named; 0: none was sent; ~0: without a limit

    bool has(uint16_t flag) const { return (flags & flag) != 0; }
    constexpr uint64_t pack() const {
        return uint64_t{grace_end} << 32 | uint64_t{flags} << 16 | uint64_t{pings} << 8 |
               static_cast<uint8_t>(state);
    }
    static constexpr SessionWord unpack(uint64_t word) {
        return {static_cast<SessionState>(word & 0xFF), static_cast<uint8_t>(word >> 8),
                static_cast<uint16_t>(word >> 16), static_cast<uint32_t>(word >> 32)};
    }
};

struct SessionRecord {
    uint64_t word;   // SessionWord
    uint64_t in;     // chunk in which the frame in hand is gathered, or what waits for its time; 0: none
    uint64_t later;  // chunk of replies that wait for the end of a frame that is passed on; 0: none
    uint64_t progress[3];  // worker::FrameProgress of the frame in hand
    uint64_t messages;     // frames taken, control frames not counted
    union {
        uint64_t rate_ns;  // accepted: when the next message would come if all came evenly; monotonic
        uint64_t owed;     // dialled: chunk of errors that its client gets between its replies; 0: none
    };
    uint8_t id[16];  // random, drawn when the connection begins
    uint8_t identity_bytes;
    char identity[47];  // who it is, once known
    uint64_t spare[8];
};
static_assert(sizeof(SessionRecord) == 192);
static_assert(offsetof(SessionRecord, id) == 64 && offsetof(SessionRecord, identity) == 81);

}  // namespace tcpd::slot
