#include "master/supervisor.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "daemon/slot/layout.h"

namespace tcpd::master {

namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1'000 * kMillisecond;
constexpr uint64_t kStartLimit = 30 * kSecond;
constexpr uint64_t kWakeAgain = 100 * kMillisecond;
constexpr uint64_t kAbortToKill = kSecond;
constexpr uint64_t kStopToKill = 2 * kSecond;
constexpr uint64_t kKillAgain = 100 * kMillisecond;
constexpr uint64_t kDrainGrace = 2 * kSecond;        // for what a slot closes at the end of its drain
constexpr uint64_t kRetiredTogether = kSecond;       // a worker follows its standby within this time
constexpr uint64_t kRetireAgain = kSecond;           // a connection may have come in just then
constexpr uint64_t kClockSlack = kSecond;            // a heartbeat this far ahead is a false one
constexpr uint64_t kDefaultPatience = 10 * kSecond;  // for a standby where there is no watchdog

bool has_worker(SlotState state) {
    return state == SlotState::seated || state == SlotState::backing_off || state == SlotState::serving;
}

bool has_process(SlotState state) { return state != SlotState::waiting && state != SlotState::ended; }

bool is_whole(const SupervisedSlot& slot) { return slot.state == SlotState::serving && slot.standby != 0; }

}  // namespace

const char* name_of(SlotState state) {
    switch (state) {
        case SlotState::waiting: return "waiting";
        case SlotState::starting: return "starting";
        case SlotState::seated: return "seated";
        case SlotState::backing_off: return "backing_off";
        case SlotState::serving: return "serving";
        case SlotState::succeeding: return "succeeding";
        case SlotState::ended: return "ended";
    }
    return "unknown";
}

Supervisor::Supervisor(const SupervisorSettings& settings, uint64_t now)
    : settings_(settings), slots_(settings.slots), last_tick_ns_(now), granted_ns_(now) {
    for (SupervisedSlot& slot : slots_) {
        slot.since_ns = now;
        slot.birth_due_ns = now;
    }
}

void Supervisor::enter(SupervisedSlot& slot, SlotState state, uint64_t now) {
    slot.state = state;
    slot.since_ns = now;
    slot.aborted_ns = 0;
}

SavedSupervisor Supervisor::save() const { return {slots_, images_, resting_}; }

void Supervisor::take_over(const SavedSupervisor& saved, uint64_t now) {
    slots_ = saved.slots;
    images_ = saved.images;
    resting_ = saved.is_resting;
    ready_ = true;
    last_tick_ns_ = granted_ns_ = now;
}

// -- what happens to a slot

void Supervisor::on_born(uint32_t number, pid_t image) { slots_[number].image_pid = image; }

void Supervisor::on_birth_failed(uint32_t number, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    if (may_fail_start(slot)) act({Act::start_failed, number});
    const bool ends = stopping_ || draining_ || slot.dismissed;
    enter(slot, ends ? SlotState::ended : SlotState::waiting, now);
    slot.birth_due_ns = now + back_off(++slot.short_births);
}

void Supervisor::on_seated(uint32_t number, pid_t worker, pid_t standby, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    if (!has_process(slot.state)) return;
    slot.image_pid = 0;
    slot.renewed = false;
    slot.worker = worker;
    slot.standby = standby;
    slot.failed_clones = standby == 0 ? slot.failed_clones + 1 : 0;
    if (standby != 0) slot.exposed = false;
    enter(slot, SlotState::seated, now);
    act({Act::unshield, number, worker});
}

void Supervisor::on_backing_off(uint32_t number, pid_t worker, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    if (slot.worker == worker && has_worker(slot.state)) enter(slot, SlotState::backing_off, now);
}

void Supervisor::on_serving(uint32_t number, pid_t worker, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    if (slot.worker != worker || !has_worker(slot.state)) return;
    enter(slot, SlotState::serving, now);
    slot.served_once = true;
    if (slot.served_ns == 0) slot.served_ns = now;
}

void Supervisor::wake_standby(uint32_t number, pid_t dead, uint64_t now) {
    slots_[number].woken_ns = now;
    act({Act::wake_standby, number, dead, slots_[number].standby});
}

// Who died may have held the seat without having come to say so: then its clone is woken, whoever that is.
void Supervisor::on_death(uint32_t number, pid_t pid, bool retired, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    if (pid == slot.worker && has_worker(slot.state)) {
        enter(slot, SlotState::succeeding, now);
        wake_standby(number, pid, now);
    } else if (pid == slot.standby) {
        slot.standby = 0;
        slot.exposed_due_ns = retired ? now + kRetiredTogether : now;
        if (slot.state == SlotState::succeeding) {
            slot.worker = pid;
            wake_standby(number, pid, now);
        }
    } else if (pid == slot.image_pid && slot.state == SlotState::starting) {
        if (slot.renewed) {
            slot.worker = pid;
            slot.renewed = false;
            enter(slot, SlotState::succeeding, now);
        }
        wake_standby(number, pid, now);
    }
}

void Supervisor::on_table_gone(uint32_t number, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    if (!has_process(slot.state)) return;
    act({Act::drop_slot, number});
    const bool planned = slot.retiring;
    const bool lived = slot.served_ns != 0 && now - slot.served_ns >= slot::kShortLifeNs;
    slot.short_births = planned || lived ? 0 : slot.short_births + 1;
    slot.birth_due_ns = now + back_off(slot.short_births);
    if (may_fail_start(slot) && !draining_ && !stopping_) act({Act::start_failed, number});
    slot.image_pid = slot.worker = slot.standby = 0;
    slot.served_ns = 0;
    slot.exposed = slot.retiring = slot.paused = slot.parked = slot.renewed = false;
    slot.pulse = {};
    const bool ends = draining_ || stopping_ || slot.dismissed;
    enter(slot, ends ? SlotState::ended : SlotState::waiting, now);
    if (slot.dismissed) act({Act::slot_ended, number});
}

// Its new worker says at once that it is seated; one that died before it could is succeeded by its clone.
void Supervisor::on_renewed(uint32_t number, uint32_t image, pid_t image_pid, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    slot.image = image;
    slot.image_pid = image_pid;
    slot.worker = slot.standby = 0;
    slot.exposed = slot.retiring = slot.parked = false;
    slot.failed_clones = 0;
    slot.renewed = true;
    enter(slot, SlotState::starting, now);
}

uint32_t Supervisor::add_slot(uint64_t now) {
    const auto ended = std::find_if(slots_.begin(), slots_.end(), [](const SupervisedSlot& slot) {
        return slot.state == SlotState::ended;
    });
    const auto number = static_cast<uint32_t>(ended - slots_.begin());
    if (ended == slots_.end()) slots_.emplace_back();
    const uint64_t lost = slots_[number].standbys_lost;
    slots_[number] = SupervisedSlot{};
    slots_[number].standbys_lost = lost;
    slots_[number].since_ns = slots_[number].birth_due_ns = now;
    return number;
}

uint32_t Supervisor::spare_slots() const {
    const auto used = std::count_if(slots_.begin(), slots_.end(), [](const SupervisedSlot& slot) {
        return slot.state != SlotState::ended;
    });
    return slot::kMaxSlots - std::min(static_cast<uint32_t>(used), slot::kMaxSlots);
}

void Supervisor::dismiss(uint32_t number, uint64_t end_ns, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    slot.dismissed = true;
    slot.dismissal_end_ns = end_ns;
    if (slot.state == SlotState::waiting) {
        enter(slot, SlotState::ended, now);
        act({Act::slot_ended, number});
    } else if (has_process(slot.state)) {
        choose_service();  // steered away from before it stops accepting
        act({Act::tell_dismissal, number});
    }
}

std::vector<uint32_t> Supervisor::wanted_slots() const {
    std::vector<uint32_t> list;
    for (uint32_t i = 0; i < slots(); ++i) {
        if (!slots_[i].dismissed && slots_[i].state != SlotState::ended) list.push_back(i);
    }
    return list;
}

void Supervisor::drain(uint64_t end_ns, uint64_t now) {
    if (draining_ || stopping_) return;
    draining_ = true;
    drain_end_ns_ = end_ns;
    for (uint32_t i = 0; i < slots(); ++i) {
        if (slots_[i].state == SlotState::waiting) enter(slots_[i], SlotState::ended, now);
        if (has_process(slots_[i].state)) act({Act::tell_drain, i});
    }
}

void Supervisor::stop(uint64_t now) {
    if (stopping_) return;
    stopping_ = true;
    kill_due_ns_ = now + kStopToKill;
    for (uint32_t i = 0; i < slots(); ++i) {
        if (slots_[i].state == SlotState::waiting) enter(slots_[i], SlotState::ended, now);
        if (has_process(slots_[i].state)) act({Act::tell_stop, i});
    }
}

bool Supervisor::is_over() const {
    if (resting_ && !draining_ && !stopping_) return false;
    return std::all_of(slots_.begin(), slots_.end(),
                       [](const SupervisedSlot& slot) { return slot.state == SlotState::ended; });
}

// -- what follows

void Supervisor::conclude(uint64_t now) {
    give_births(now);
    note_exposed(now);
    if (!draining_ && !stopping_) {
        choose_service();
        pause_exposed();
        retire_empty(now);
    }
    const bool all_served = std::all_of(slots_.begin(), slots_.end(),
                                        [](const SupervisedSlot& slot) { return slot.served_once; });
    if (all_served && !ready_) {
        ready_ = true;
        act({Act::became_ready});
    }
}

void Supervisor::give_births(uint64_t now) {
    for (uint32_t i = 0; i < slots(); ++i) {
        SupervisedSlot& slot = slots_[i];
        if (slot.state != SlotState::waiting || slot.birth_due_ns > now) continue;
        slot.image = take_image_number();
        enter(slot, SlotState::starting, now);
        act({.act = Act::give_birth, .slot = i, .number = slot.image});
    }
}

void Supervisor::note_exposed(uint64_t now) {
    for (uint32_t i = 0; i < slots(); ++i) {
        SupervisedSlot& slot = slots_[i];
        if (slot.exposed || slot.standby != 0 || !has_worker(slot.state) || slot.exposed_due_ns > now) {
            continue;
        }
        slot.exposed = true;
        ++slot.standbys_lost;
        slot.retire_due_ns = now + back_off(slot.failed_clones);
        act({Act::report_exposed, i, slot.worker});
    }
}

// Whole slots; else those that serve at all; else what was chosen before, so that connections wait in queues
// that some slot will empty.
void Supervisor::choose_service() {
    std::vector<uint32_t> whole, serving;
    for (uint32_t i = 0; i < slots(); ++i) {
        if (slots_[i].dismissed) continue;
        if (is_whole(slots_[i]) && !slots_[i].parked) whole.push_back(i);
        if (slots_[i].state == SlotState::serving && !slots_[i].retiring) serving.push_back(i);
    }
    std::vector<uint32_t>& chosen = whole.empty() ? serving : whole;
    if (chosen.empty() || chosen == in_service_) return;
    in_service_ = std::move(chosen);
    act({Act::steer});
}

void Supervisor::pause_exposed() {
    const bool others = std::any_of(slots_.begin(), slots_.end(), is_whole);
    for (uint32_t i = 0; i < slots(); ++i) {
        SupervisedSlot& slot = slots_[i];
        if (slot.state != SlotState::serving || slot.dismissed) continue;
        const bool pause = slot.exposed && others;
        if (pause == slot.paused) continue;
        slot.paused = pause;
        act({pause ? Act::pause_accept : Act::resume_accept, i});
    }
}

// By a look at its connections that is newer than what made it due.
void Supervisor::retire_empty(uint64_t now) {
    for (uint32_t i = 0; i < slots(); ++i) {
        SupervisedSlot& slot = slots_[i];
        if (slot.state != SlotState::serving || !slot.exposed || slot.dismissed) continue;
        if (slot.pulse.open != 0 || last_tick_ns_ <= slot.retire_due_ns) continue;
        slot.retiring = true;
        slot.retire_due_ns = now + kRetireAgain;
        act({Act::retire, i});
    }
}

std::vector<Action> Supervisor::take_actions() { return std::exchange(actions_, {}); }

// -- time

uint64_t Supervisor::back_off(unsigned times) const {
    if (times == 0) return 0;
    const uint64_t most = to_ns(settings_.respawn_max);
    uint64_t wait = std::min(to_ns(settings_.respawn_initial), most);
    for (unsigned i = 1; i < times && wait < most; ++i) wait = std::min(2 * wait, most);
    return wait;
}

uint64_t Supervisor::tick_ns() const {
    if (settings_.watchdog.count() == 0) return kSecond;
    return std::clamp(to_ns(settings_.watchdog) / 4, 20 * kMillisecond, kSecond);
}

uint64_t Supervisor::patience_ns() const {
    return settings_.watchdog.count() == 0 ? kDefaultPatience : to_ns(settings_.watchdog);
}

// A tick that comes late means that this process or the whole machine stood still, and perhaps the workers
// with it.
void Supervisor::on_tick(const std::vector<Pulse>& pulses, uint64_t now) {
    if (now - last_tick_ns_ > tick_ns() + patience_ns() / 4) granted_ns_ = now;
    last_tick_ns_ = now;
    for (uint32_t i = 0; i < slots(); ++i) {
        slots_[i].pulse = pulses[i];
        watch(i, now);
    }
    end_late(now);
}

void Supervisor::watch(uint32_t number, uint64_t now) {
    SupervisedSlot& slot = slots_[number];
    const uint64_t silent_ns = now - std::max(slot.since_ns, granted_ns_);
    switch (slot.state) {
        case SlotState::waiting:
        case SlotState::backing_off:
        case SlotState::ended: return;
        case SlotState::seated:
        case SlotState::serving: return watch_heartbeat(number, now);
        case SlotState::starting:
            if (slot.renewed && silent_ns >= patience_ns()) {
                slot.since_ns = now;
                return act({Act::signal_process, number, slot.image_pid, 0, SIGKILL});
            }
            if (silent_ns < kStartLimit) return;
            break;
        case SlotState::succeeding:
            if (now - slot.woken_ns >= kWakeAgain) wake_standby(number, slot.worker, now);
            if (silent_ns < patience_ns()) return;
            break;
    }
    slot.since_ns = now;
    act({Act::report_stuck, number});
    act({Act::kill_slot, number});
}

void Supervisor::watch_heartbeat(uint32_t number, uint64_t now) {
    if (settings_.watchdog.count() == 0) return;
    SupervisedSlot& slot = slots_[number];
    if (slot.aborted_ns != 0) {
        if (now - slot.aborted_ns < kAbortToKill) return;
        slot.aborted_ns = now;
        act({Act::signal_process, number, slot.worker, 0, SIGKILL});
        return;
    }
    const uint64_t heard_ns = slot.pulse.heartbeat_ns > now + kClockSlack ? 0 : slot.pulse.heartbeat_ns;
    const uint64_t last_ns = std::max({heard_ns, slot.since_ns, granted_ns_});
    if (last_ns >= now || now - last_ns < to_ns(settings_.watchdog)) return;
    slot.aborted_ns = now;
    act({Act::report_hang, number, slot.worker, 0, static_cast<uint32_t>((now - last_ns) / kMillisecond)});
    act({Act::signal_process, number, slot.worker, 0, SIGABRT});
}

// A drain that is over its time becomes a stop; a stop that is, a kill.
void Supervisor::end_late(uint64_t now) {
    for (uint32_t i = 0; i < slots(); ++i) {
        SupervisedSlot& slot = slots_[i];
        if (!slot.dismissed || slot.dismissal_end_ns == 0 || !has_process(slot.state)) continue;
        if (now < slot.dismissal_end_ns + kDrainGrace) continue;
        slot.dismissal_end_ns = now;
        act({Act::kill_slot, i});
    }
    if (draining_ && !stopping_ && drain_end_ns_ != 0 && now >= drain_end_ns_ + kDrainGrace) stop(now);
    if (!stopping_ || now < kill_due_ns_) return;
    kill_due_ns_ = now + kKillAgain;
    for (uint32_t i = 0; i < slots(); ++i) {
        if (has_process(slots_[i].state)) act({Act::kill_slot, i});
    }
}

// A birth is due without a tick; all else is looked at by one.
uint64_t Supervisor::next_wake() const {
    uint64_t wake = last_tick_ns_ + tick_ns();
    for (const SupervisedSlot& slot : slots_) {
        if (slot.state == SlotState::waiting) wake = std::min(wake, slot.birth_due_ns);
        if (slot.state == SlotState::succeeding || slot.exposed) {
            wake = std::min(wake, last_tick_ns_ + kWakeAgain);
        }
        if (slot.dismissed && slot.dismissal_end_ns != 0 && has_process(slot.state)) {
            wake = std::min(wake, slot.dismissal_end_ns + kDrainGrace);
        }
        if (slot.aborted_ns != 0) wake = std::min(wake, slot.aborted_ns + kAbortToKill);
    }
    if (draining_ && !stopping_ && drain_end_ns_ != 0) wake = std::min(wake, drain_end_ns_ + kDrainGrace);
    if (stopping_) wake = std::min(wake, kill_due_ns_);
    return wake;
}

}  // namespace tcpd::master
