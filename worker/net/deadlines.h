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

    // Calls `look(fd)` for what is due, having taken it out; `look` may arm and cancel, and what it arms as due
    // already may wait for the next call. Each entry is looked at once, so that a call costs what lies in the
    // slots that it passes.
    template <typename Look>
    void expire(slot::Tick now, Look&& look) {
        (void)expire_some(now, [&look](int fd) { return look(fd), true; });
    }
    // The same until `look` returns false: what is left comes first in the next call. True: nothing is.
    template <typename Look>
    bool expire_some(slot::Tick now, Look&& look) {
        begin_passing(now);
        for (int fd = pop_due(now); fd >= 0; fd = pop_due(now)) {
            if (!look(fd)) return false;
        }
        return true;
    }
    uint64_t steps() const { return steps_; }  // entries looked at so far, due or not

private:
    static constexpr uint32_t kSlots = 1024;  // of 4 ticks each: 69 s a turn
    struct Node {
        uint32_t next, previous;  // descriptor + 1; 0: none
        slot::Tick due;
    };
    static constexpr uint32_t kInHand = kSlots;  // the list of the slot that is being passed
    static uint32_t slot_of(slot::Tick due) { return due / 4 % kSlots; }
    void begin_passing(slot::Tick now);
    void take_in_hand(uint32_t slot);
    int pop_due(slot::Tick now);

    Node* nodes_;
    uint32_t descriptors_;
    uint32_t armed_ = 0;
    uint64_t steps_ = 0;
    slot::Tick hand_ = 0;  // every slot before this tick was passed, or is in hand
    bool running_ = false;
    bool is_last_passed_ = false;  // the slot of `now` was, in this call: it may be passed again in the next
    std::array<uint32_t, kSlots + 1> heads_{};
};

}  // namespace tcpd::worker
