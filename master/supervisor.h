#pragma once

// What the master decides about its slots: events in, actions out. Pure: no system call, no log, the clock is
// passed in. Owns the master's idea of each slot. If the master dies, that idea dies with it; the slots need
// none of it.
//
//   state        means                               left when
//   waiting      no process                          its birth is due: starting
//   starting     an image executes, or has           seated: seated | 30 s passed: it is killed; of a renewal
//                committed a renewal just now        a watchdog's time: its worker is killed
//   seated       a worker adopts what is there       serving | backing_off | the worker died: succeeding
//   backing_off  a worker waits before it serves     serving | the worker died: succeeding
//   serving      a worker serves                     the worker died: succeeding
//   succeeding   the worker died; its standby is     seated | a watchdog's time passed: it is killed
//                woken, and again every 100 ms
//   ended        no process, and no birth any more   a slot more is wanted: waiting
//   any          the slot's table is gone            birth failed before the first service: start_failed
//                                                    drain, stop, dismissed: ended | else: waiting
//
// Deaths alone never end a slot: its descriptor table does (end of file on the control socket), since a clone
// may live that the master was not told of. A slot without a standby is exposed: out of steering and paused
// while another slot is whole, and replaced once it is empty. Call `conclude` after each batch of events.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "daemon/base/clock.h"

namespace tcpd::master {

enum class SlotState : uint8_t { waiting, starting, seated, backing_off, serving, succeeding, ended };

const char* name_of(SlotState state);

enum class Act : uint8_t {
    give_birth,      // slot; number: the image's
    drop_slot,       // slot: its table is gone; count what was open, let its memory go
    wake_standby,    // slot; pid: the dead holder; other: the standby, 0: look in slot memory
    signal_process,  // slot, pid; number: the signal
    kill_slot,       // slot: SIGKILL for every process of it
    unshield,        // pid: a worker, which is killed before all others when memory runs out
    pause_accept,    // slot
    resume_accept,   // slot
    retire,          // slot: exit if it is empty
    tell_drain,      // slot
    tell_dismissal,  // slot: drain by its own limit
    slot_ended,      // slot: it was dismissed, and is gone
    tell_stop,       // slot
    steer,           // to in_service()
    report_exposed,  // slot; pid: its worker
    report_hang,     // slot, pid; number: milliseconds of silence
    report_stuck,    // slot: neither started up nor taken over in time
    became_ready,    // every slot serves
    start_failed,    // slot: its first image did not come to serve
};

struct Action {
    Act act;
    uint32_t slot = 0;
    pid_t pid = 0;
    pid_t other = 0;
    uint32_t number = 0;
    bool operator==(const Action&) const = default;
};

struct SupervisorSettings {
    unsigned slots = 1;
    Duration respawn_initial{100};
    Duration respawn_max{30'000};
    Duration watchdog{10'000};  // 0: none
};

// What slot memory says; not trusted.
struct Pulse {
    uint64_t heartbeat_ns = 0;
    uint64_t open = 0;  // connections
};

struct SupervisedSlot {
    SlotState state = SlotState::waiting;
    uint32_t image = 0;
    pid_t image_pid = 0, worker = 0, standby = 0;  // 0: none, or not known
    uint64_t since_ns = 0;                         // in this state
    uint64_t served_ns = 0;                        // first service of this table; 0: never
    uint64_t birth_due_ns = 0;
    uint64_t dismissal_end_ns = 0;  // 0: no limit
    unsigned short_births = 0;      // tables in a row that lived less than 200 ms
    bool served_once = false;       // in any table

    bool exposed = false;
    uint64_t exposed_due_ns = 0;  // no sooner
    uint64_t retire_due_ns = 0;
    unsigned failed_clones = 0;  // in a row
    bool retiring = false, paused = false;
    bool parked = false;
    bool renewed = false;    // just now: its worker is image_pid, which has not said so yet
    bool dismissed = false;  // takes no new connections; ended once its connections are
    uint64_t standbys_lost = 0;

    Pulse pulse;
    uint64_t aborted_ns = 0;  // when the watchdog's SIGABRT went out to this worker; 0: it did not
    uint64_t woken_ns = 0;    // when the standby was last woken
};

struct SavedSupervisor {
    std::vector<SupervisedSlot> slots;
    uint32_t images = 0;
    bool is_resting = false;
};

class Supervisor {
public:
    Supervisor(const SupervisorSettings& settings, uint64_t now);

    void on_born(uint32_t slot, pid_t image);
    void on_birth_failed(uint32_t slot, uint64_t now);
    // standby 0: there is none.
    void on_seated(uint32_t slot, pid_t worker, pid_t standby, uint64_t now);
    void on_backing_off(uint32_t slot, pid_t worker, uint64_t now);
    void on_serving(uint32_t slot, pid_t worker, uint64_t now);
    // A child that waitid shows dead and that belongs to this slot. `retired`: it exited of its own will, as
    // a standby does shortly before its worker when the slot is done.
    void on_death(uint32_t slot, pid_t pid, bool retired, uint64_t now);
    void on_table_gone(uint32_t slot, uint64_t now);
    // A renewal has committed: what was known of processes is of the image before it.
    void on_renewed(uint32_t slot, uint32_t image, pid_t image_pid, uint64_t now);
    // While its worker hands over, a slot is left out of steering.
    void set_parked(uint32_t slot, bool parked) { slots_[slot].parked = parked; }
    // One slot more: the first that has ended, or one at the end; its number. Not if spare_slots is 0.
    uint32_t add_slot(uint64_t now);
    uint32_t spare_slots() const;  // one that drains keeps its number until it has ended
    // One fewer: its connections may end by `end_ns` (0: no limit), then it is ended and stays so.
    void dismiss(uint32_t slot, uint64_t end_ns, uint64_t now);
    // Slots that are to serve, ascending.
    std::vector<uint32_t> wanted_slots() const;
    // With no slot wanted the crew rests, and is not over.
    void set_resting(bool resting) { resting_ = resting; }
    bool is_resting() const { return resting_; }
    // A reload may change them.
    void set_times(Duration respawn_initial, Duration respawn_max, Duration watchdog) {
        settings_.respawn_initial = respawn_initial;
        settings_.respawn_max = respawn_max;
        settings_.watchdog = watchdog;
    }
    uint32_t take_image_number() { return ++images_; }
    // `pulses`: by slot. Call it when next_wake says so, at the latest.
    void on_tick(const std::vector<Pulse>& pulses, uint64_t now);

    // end_ns 0: no limit.
    void drain(uint64_t end_ns, uint64_t now);
    void stop(uint64_t now);

    // Over an exec of the master: it was ready, and neither drains nor stops.
    SavedSupervisor save() const;
    void take_over(const SavedSupervisor& saved, uint64_t now);

    // What follows from all that came in since.
    void conclude(uint64_t now);
    std::vector<Action> take_actions();
    uint64_t next_wake() const;

    const SupervisedSlot& slot(uint32_t number) const { return slots_[number]; }
    uint32_t slots() const { return static_cast<uint32_t>(slots_.size()); }
    const std::vector<uint32_t>& in_service() const { return in_service_; }  // ascending
    bool is_ready() const { return ready_; }
    bool is_draining() const { return draining_; }
    bool is_stopping() const { return stopping_; }
    bool is_over() const;  // every slot ended

private:
    void act(const Action& action) { actions_.push_back(action); }
    void enter(SupervisedSlot& slot, SlotState state, uint64_t now);
    void wake_standby(uint32_t number, pid_t dead, uint64_t now);
    void give_births(uint64_t now);
    void note_exposed(uint64_t now);
    void choose_service();
    void pause_exposed();
    void retire_empty(uint64_t now);
    void watch(uint32_t number, uint64_t now);
    void watch_heartbeat(uint32_t number, uint64_t now);
    void end_late(uint64_t now);
    bool may_fail_start(const SupervisedSlot& slot) const { return !ready_ && !slot.served_once; }
    uint64_t back_off(unsigned times) const;
    uint64_t tick_ns() const;
    uint64_t patience_ns() const;

    SupervisorSettings settings_;
    std::vector<SupervisedSlot> slots_;
    std::vector<uint32_t> in_service_;
    std::vector<Action> actions_;
    uint32_t images_ = 0;
    uint64_t last_tick_ns_, granted_ns_;
    bool ready_ = false, draining_ = false, stopping_ = false, resting_ = false;
    uint64_t drain_end_ns_ = 0, kill_due_ns_ = 0;
};

}  // namespace tcpd::master
