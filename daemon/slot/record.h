#pragma once

// A connection: 128 bytes in slot memory, index = descriptor. No object, no pointer.
// Writer: the worker that holds the seat. Readers: its successor, which trusts no field before it was
// checked. A field that changes together with another one, or with a counter, changes through the redo log
// (journal.h).

#include <cstddef>
#include <cstdint>

namespace tcpd::slot {

enum class State : uint8_t {
    free,     // no connection here; every other field is stale
    waiting,  // accepted; its upstream connection is not there yet, it is not read
    dialing,  // towards an upstream: connect was called or is about to be
    open,
    doomed,  // its end is decided, `reason` says why; what is left is unregister, close, free
};

enum class Kind : uint8_t { accepted_tcp, accepted_unix, dialled_tcp, dialled_unix };

// Bits of RecordWord::flags.
inline constexpr uint16_t kEndIn = 1;          // the peer's FIN was read
inline constexpr uint16_t kEndOut = 2;         // our FIN is out or about to be: set before shutdown is called
inline constexpr uint16_t kPaused = 4;         // not read: what takes its bytes is over its high-water mark
inline constexpr uint16_t kReset = 8;          // end it by RST
inline constexpr uint16_t kUnregistered = 16;  // no longer in the epoll set: both directions ended
// Nothing more is handled: once its output is out it is shut, what still comes is read and dropped for a
// moment, so that no RST destroys what was said last, and it ends for `reason`.
inline constexpr uint16_t kClosing = 64;
inline constexpr uint16_t kThrottled = 128;  // not read until its messages are within their rate again

// It was reset, or is unreachable, which a send or the end of its input told. What it had sent before is read all the
// same, and goes where it belongs; then `reason` ends it, and by RST what its bytes went to. (Bits 256 to 1024 are
// kept for what is to come.)
inline constexpr uint16_t kFailed = 2048;

// Record::awaited, since it was sent something.
inline constexpr uint8_t kAwaited = 1;     // the kernel is asked now and then whether it has it
inline constexpr uint8_t kUnanswered = 2;  // when it was asked last, an acknowledgement was due

// The part of a record that is stored as one word.
struct RecordWord {
    uint32_t generation = 0;  // of this use of the descriptor; the epoll registration carries it
    uint16_t flags = 0;
    State state = State::free;
    Kind kind = Kind::accepted_tcp;
    uint8_t reason = 0;  // CloseReason, once closing, failed or doomed

    constexpr uint64_t pack() const {
        return uint64_t{generation} << 32 | uint64_t{flags} << 16 | uint64_t{reason} << 8 |
               uint64_t{static_cast<uint8_t>(state)} << 4 | static_cast<uint8_t>(kind);
    }
    static constexpr RecordWord unpack(uint64_t word) {
        return {static_cast<uint32_t>(word >> 32), static_cast<uint16_t>(word >> 16),
                static_cast<State>(word >> 4 & 15), static_cast<Kind>(word & 15),
                static_cast<uint8_t>(word >> 8)};
    }
};

// Ticks are monotonic nanoseconds >> 24 (16.8 ms), modulo 2^32: only differences mean anything.
using Tick = uint32_t;
inline constexpr Tick to_tick(uint64_t monotonic_nanoseconds) {
    return static_cast<Tick>(monotonic_nanoseconds >> 24);
}

// What a connection belongs to, as two bytes of its record.
enum class OwnerKind : uint16_t { listener, upstream, slot };
struct Owner {
    OwnerKind kind = OwnerKind::listener;
    uint16_t id = 0;  // stable, below 2^14
    constexpr uint16_t pack() const { return static_cast<uint16_t>(static_cast<uint16_t>(kind) << 14 | id); }
    static constexpr Owner unpack(uint16_t owner) {
        return {static_cast<OwnerKind>(owner >> 14), static_cast<uint16_t>(owner & 0x3FFF)};
    }
};

// The first half is what a message touches.
struct Record {
    uint64_t received;  // bytes taken from the socket and published
    uint64_t sent;      // bytes given to the socket and published
    uint64_t word;      // RecordWord
    uint64_t out;       // chain of unsent output: first chunk id << 32 | last; 0: none
    uint64_t out_bytes;
    uint64_t peer;       // the other one of a pair: descriptor << 32 | generation; ~0: none
    Tick active_tick;    // last byte either way
    Tick input_tick;     // last byte from the peer, or another sign of its life
    Tick progress_tick;  // last byte of output taken, or output begun
    uint16_t owner;      // Owner
    uint8_t interest;    // EPOLLIN | EPOLLOUT as last told to epoll
    uint8_t awaited;     // kAwaited, kUnanswered; 0: the peer has acknowledged all that was sent

    uint64_t id;          // slot << 48 | serial; what logs call conn=
    uint64_t opened_ns;   // monotonic
    uint8_t address[16];  // of the peer; IPv4 in the first four
    uint16_t port;
    uint8_t address_family;  // 4, 6; 0: unix
    uint8_t faults;          // 0: none did
    uint8_t dial_tries;      // servers tried so far
    uint8_t needs;           // the level (parts.h) that its words need; stored before the record is published
    uint16_t awaited_since;  // low half of the tick of the look that first saw it unanswered
    uint32_t server;         // the server's index in its upstream; of a client: that of its first dial
    uint32_t spare_word;
    Tick ended_tick;  // first direction ended, or dial begun
    // Low half of what the peer had taken when output was last seen in the kernel; 0: none was.
    uint32_t taken;
    uint32_t dropped;     // bytes read since it was shut while closing
    uint32_t faulted_at;  // low half of `received` when a worker fell over what came then

    Owner whose() const { return Owner::unpack(owner); }
};
static_assert(sizeof(Record) == 128 && offsetof(Record, id) == 64 && offsetof(Record, faulted_at) == 124);

}  // namespace tcpd::slot
