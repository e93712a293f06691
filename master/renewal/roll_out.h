#pragma once

// How renewals go through the slots: events in, actions out. Pure: no system call, no log, the clock is
// passed in. Master only. One slot at a time; the first is the canary. If the master dies, a slot in the
// middle keeps whichever image its service word names.
//
//   state         means                                left when
//   idle          nothing to do                        begin: choosing
//   choosing      the next slot is to serve first      it serves: executing | 30 s passed: failed
//   executing     its image starts up                  started: handing_over | over, 30 s passed: failed
//   handing_over  the service word names the attempt   committed: settling | over, 5 s passed: failed, but
//                                                      once more where the slot's own worker died
//   settling      the new image is to serve            it serves: choosing, or idle if it was the last
//                                                      | 30 s passed: failed
//   failed        slots were renewed before: they go   `turned_back`: choosing, for those
//                 back                                 | none was, or this was the way back: idle
//
// The outcome of what `begin` asked for is the action `finished`; a way back ends with the reason that led
// to it.

#include <cstdint>
#include <string>
#include <vector>

namespace tcpd::master {

enum class RollOutState : uint8_t { idle, choosing, executing, handing_over, settling };
const char* name_of(RollOutState state);

enum class RollOutAct : uint8_t {
    execute,      // slot: have an image of the target started
    hand_over,    // slot: begin the attempt, tell both sides
    withdraw,     // slot: the attempt is over, or its image is not wanted any more
    turned_back,  // from now on the target is what was in force before
    finished,     // reason: empty, or why it failed
};

struct RollOutAction {
    RollOutAct act;
    uint32_t slot = 0;
    std::string reason;
    bool operator==(const RollOutAction&) const = default;
};

class RollOut {
public:
    // can_turn_back: there is something else to go back to.
    void begin(std::vector<uint32_t> slots, bool can_turn_back, uint64_t now);
    // A slot that came up anew in the meantime and is not of the target.
    void add(uint32_t slot);
    // What `begin` asked for has come to its end, and that was taken note of.
    bool is_idle() const { return state_ == RollOutState::idle && actions_.empty(); }
    bool is_turning_back() const { return turning_back_; }
    RollOutState state() const { return state_; }
    // The slot that has, or is about to have, an attempt.
    bool is_at(uint32_t slot) const { return has_attempt() && slot_ == slot; }

    void on_started(uint32_t slot, uint64_t now);
    void on_committed(uint32_t slot, uint64_t now);
    // The attempt came to nothing. may_try_again: through no fault of the new image.
    void on_over(uint32_t slot, const std::string& reason, bool may_try_again, uint64_t now);
    // The daemon drains or stops.
    void abandon(const std::string& reason, uint64_t now);

    // What follows from all that came in since. `serving`: by slot.
    void conclude(const std::vector<bool>& serving, uint64_t now);
    std::vector<RollOutAction> take_actions();
    // ~0: never.
    uint64_t next_wake() const;

private:
    bool has_attempt() const {
        return state_ == RollOutState::executing || state_ == RollOutState::handing_over ||
               state_ == RollOutState::settling;
    }
    void enter(RollOutState state, uint64_t now);
    void choose(const std::vector<bool>& serving, uint64_t now);
    void fail(const std::string& reason, uint64_t now);
    void finish();
    uint64_t limit_ns() const;

    RollOutState state_ = RollOutState::idle;
    std::vector<uint32_t> todo_, done_;
    uint32_t slot_ = 0;
    unsigned tries_ = 0;  // of this slot
    uint64_t since_ns_ = 0;
    bool can_turn_back_ = false, turning_back_ = false;
    std::string reason_;  // why it turned back
    std::vector<RollOutAction> actions_;
};

}  // namespace tcpd::master
