#pragma once

// A supervisor with a clock, for its tests: no process, no sleep. Owns both.

#include <algorithm>
#include <vector>

#include "master/supervisor.h"

namespace tcpd::master {

using namespace std::chrono_literals;

inline constexpr uint64_t kMs = 1'000'000;

// A supervisor, a clock, and heartbeats that go on unless a test holds them.
struct Desk {
    uint64_t now = 1'000'000 * kMs;
    Supervisor supervisor;
    std::vector<Pulse> pulses;
    std::vector<bool> silent;
    std::vector<Action> seen;

    explicit Desk(unsigned slots, Duration watchdog = 10s)
        : supervisor({slots, 100ms, 1s, watchdog}, now), pulses(slots), silent(slots) {}

    std::vector<Action> conclude() {
        supervisor.conclude(now);
        seen = supervisor.take_actions();
        return seen;
    }
    bool did(const Action& action) const { return std::find(seen.begin(), seen.end(), action) != seen.end(); }
    bool did(Act act, uint32_t slot = 0) const {
        return std::any_of(seen.begin(), seen.end(),
                           [&](const Action& action) { return action.act == act && action.slot == slot; });
    }
    // As the loop does: sleeps until it is due, ticks, concludes; collects what was done on the way.
    void pass(Duration time) {
        const uint64_t end = now + to_ns(time);
        std::vector<Action> all;
        while (now < end) {
            now = std::min(end, std::max(supervisor.next_wake(), now + kMs));
            for (size_t i = 0; i < pulses.size(); ++i) {
                if (!silent[i]) pulses[i].heartbeat_ns = now;
            }
            supervisor.on_tick(pulses, now);
            supervisor.conclude(now);
            for (const Action& action : supervisor.take_actions()) all.push_back(action);
        }
        seen = all;
    }
    // Image pid, worker and standby of a slot's first life: 100 + slot, same, 200 + slot.
    void serve(uint32_t slot) {
        supervisor.on_born(slot, static_cast<pid_t>(100 + slot));
        supervisor.on_seated(slot, static_cast<pid_t>(100 + slot), static_cast<pid_t>(200 + slot), now);
        supervisor.on_serving(slot, static_cast<pid_t>(100 + slot), now);
    }
    void serve_all() {
        conclude();
        for (uint32_t i = 0; i < supervisor.slots(); ++i) serve(i);
        conclude();
    }
    SlotState state(uint32_t slot = 0) const { return supervisor.slot(slot).state; }
};

}  // namespace tcpd::master
