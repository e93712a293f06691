#pragma once

// When to look at a connection again: a hashed timing wheel over descriptors, at most one entry each. What a
// connection is really waited for lies in its record; an entry only says when to look, so activity costs no
// call here. Private to the process and rebuilt at adoption. Owns three words for each descriptor that was
// ever armed. Worker only. Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987).

#include <array>
#include <cstdint>

#include "daemon/slot/record.h"

namespace tcpd::worker {

class Deadlines {
public:
    explicit Deadlines(uint32_t descriptors);
    ~Deadlines();
    Deadlines(const Deadlines&) = delete;
    Deadlines& operator=(const Deadlines&) = delete;

    // At `due` at the latest; an earlier entry stays.
    void arm(int fd, slot::Tick due);
    void cancel(int fd);
    bool is_empty() const { return armed_ == 0; }

    // Calls `look(fd)` for what is due, having taken it out; `look` may arm and cancel.
    template <typename Look>
    void expire(slot::Tick now, Look&& look) {
        for (int fd = pop_due(now); fd >= 0; fd = pop_due(now)) look(fd);
    }

private:
    static constexpr uint32_t kSlots = 1024;  // of 4 ticks each: 69 s a turn
    struct Node {
        uint32_t next, previous;  // descriptor + 1; 0: none
        slot::Tick due;
    };
    static uint32_t slot_of(slot::Tick due) { return due / 4 % kSlots; }
    int pop_due(slot::Tick now);

    Node* nodes_;
    uint32_t descriptors_;
    uint32_t armed_ = 0;
    slot::Tick hand_ = 0;  // every slot before this tick was looked through
    bool running_ = false;
    std::array<uint32_t, kSlots> heads_{};
};

}  // namespace tcpd::worker
