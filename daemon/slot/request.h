#pragma once

// A request that is owed a reply, or a frame that waits: 128 bytes in slot memory, part `requests`, two entries a
// record; the second half stays untouched by most. Writer: the worker that holds the seat, `word` through the redo log.
// Its bits decide what the fields mean: a field is written before the commit that sets its bit. Nothing uses an entry
// yet; the part is there, so that the first version that does needs no other memory.

#include <cstddef>
#include <cstdint>

namespace tcpd::slot {

struct Request {
    uint64_t word;        // generation 24, destination 16, refusal 8, bits 16; 0: free
    uint64_t client;      // descriptor << 32 | generation of whoever waits; 0: nobody
    uint64_t connection;  // the same of the connection that owes the reply; 0: none
    uint32_t number;      // place in the client's order
    uint32_t wire_id;     // id on the connection
    uint64_t id;          // the client's own id bytes
    uint64_t at;          // where its first byte lies in the connection's output, in bytes of the stream
    uint32_t bytes;
    uint32_t deadline_tick;  // 0: none
    uint64_t reply;          // chain of a kept reply: first chunk id << 32 | last; 0: none
    uint64_t begun_ns;       // monotonic
    uint32_t server, tried;
    uint32_t count;  // frames that share one fate; 0 is 1
    uint32_t spare_word;
    uint8_t head[32];
    uint64_t spare;
};
static_assert(sizeof(Request) == 128 && offsetof(Request, begun_ns) == 64);

inline constexpr uint32_t kLeastRequests = 4096;

}  // namespace tcpd::slot
