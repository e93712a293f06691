#include "master/crew/crew.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/slot/address_counts.h"
#include "master/start_up.h"

namespace tcpd::master {

namespace {

constexpr uint64_t kBalanceNs = 20'000'000, kBalanceIdleNs = 100'000'000;

SupervisorSettings settings_of(const CrewOutfit& outfit, const conf::Supervisor& wanted) {
    return {outfit.slots, wanted.respawn_initial, wanted.respawn_max, wanted.watchdog};
}

}  // namespace

Crew::Crew(const CrewOutfit& outfit, slot::SharedCounts counts, std::unique_ptr<Generation> first,
           CrewEvents& owner)
    : outfit_(outfit),
      counts_(std::move(counts)),
      owner_(owner),
      own_(outfit.slots),
      slot_generation_(outfit.slots),
      supervisor_(settings_of(outfit, first->config.supervisor), monotonic_ns()),
      held_(outfit.slots),
      last_failure_(outfit.slots),
      retired_(slot::kMaxListeners) {
    counts_.slots().store(outfit.slots, std::memory_order_relaxed);
    note_names(first->roster);
    current_ = target_ = last_generation_ = first->number;
    generations_.emplace(first->number, std::move(first));
}

void Crew::note_names(const Roster& roster) {
    for (const RosterListener& entry : roster) {
        if (entry.id >= names_.size()) names_.resize(entry.id + 1);
        names_[entry.id] = entry.name;
        for (auto& held : held_) {
            if (held) held->set_listener_name(entry.id, entry.name);
        }
    }
}

// -- what happened

void Crew::read_all_messages() {
    for (auto& held : held_) {
        if (held) held->read_messages();
    }
}

// All that the dead had to say is read before it is judged. Its pid is its own until it is reaped. A worker in foreign
// hands can have children die without end, so a turn has one: the rest comes with the next.
void Crew::reap() {
    constexpr int kMostATurn = 64;
    continue_stopped();
    for (int i = 0; i < kMostATurn; ++i) {
        const auto death = Children::look();
        more_have_died_ = death.has_value();
        if (!death) return;
        read_messages_of(death->pid);
        judge(*death);
        Children::reap(death->pid);
        children_.forget(death->pid);
    }
}

void Crew::read_messages_of(pid_t pid) {
    const Child* child = children_.find(pid);
    if (child == nullptr || !held_[child->slot]) return read_all_messages();
    held_[child->slot]->read_messages();
}

// Who stands by would not be there when it is needed. A worker that nobody continues is the watchdog's. Those that are
// stopped in a row are heard of again with the next signal.
void Crew::continue_stopped() {
    constexpr int kMostAtOnce = 64;
    for (int i = 0; i < kMostAtOnce; ++i) {
        const auto stop = Children::look_stopped();
        if (!stop) return;
        const Child* child = children_.find(stop->pid);
        const bool serves = child != nullptr && child->part == Part::worker;
        const char* name = sigabbrev_np(stop->signal_number);
        log::limited(log::Level::warn, "a child was stopped", "process {} was stopped by SIG{}; {}",
                     stop->pid, name != nullptr ? name : "?",
                     serves ? "if nobody continues it, supervisor.watchdog replaces it" : "it is continued");
        if (!serves) ::kill(stop->pid, SIGCONT);
    }
}

// A death of the image in service is the supervisor's; whether it is in service, its slot's word tells now.
void Crew::judge(const Death& death) {
    const uint64_t now = monotonic_ns();
    note_renewals(now);
    if (children_.find(death.pid) == nullptr) {
        const auto number = slot_of_clone(death.pid);
        if (!number) return owner_.on_other_death(death);
        HeldSlot& held = *held_[*number];
        const bool of_attempt = held.attempt() != nullptr && held.attempt_clone() == death.pid;
        const uint32_t image = of_attempt ? held.attempt()->image() : held.channel().image();
        if (!claim(death.pid, *number, image, Part::standby)) return;
    }
    const Child child = *children_.find(death.pid);
    HeldSlot* held = held_[child.slot].get();
    const bool is_held = held != nullptr && held->made_ns() == child.table;
    if (is_held && held->channel().image() == child.image) {
        supervisor_.on_death(child.slot, child.pid, death.is_clean(), now);
        carry_out_all(supervisor_.take_actions());
    }
    log_death(child, death, now);
    if (!is_held) return;
    note_death(*held, child, death, now);
    held->on_reaped(child.pid, child.held_seat);
}

// One that died before anybody could tell of it: the kernel itself wrote its number into slot memory.
std::optional<uint32_t> Crew::slot_of_clone(pid_t pid) {
    for (uint32_t i = 0; i < held_.size(); ++i) {
        if (held_[i] && held_[i]->names_clone(pid)) return i;
    }
    return std::nullopt;
}

void Crew::log_death(const Child& child, const Death& death, uint64_t now) {
    const bool planned = death.is_clean() || supervisor_.is_stopping();
    const std::string line = fmt::format("{} (pid {}) {} after {}", describe(child), child.pid, death.text(),
                                         format_elapsed(now - child.known_ns));
    last_failure_[child.slot] = line;
    if (planned) {
        log::info("{}", line);
    } else {
        log::warn("{}", line);
    }
}

bool Crew::claim(pid_t pid, uint32_t number, uint32_t image, Part part) {
    return children_.claim(
        {.pid = pid, .slot = number, .table = held_[number]->made_ns(), .image = image, .part = part},
        monotonic_ns());
}

void Crew::on_message(Channel& channel, const slot::Message& message) {
    const uint32_t number = channel.slot();
    if (message.type == slot::MessageType::seated) note_commit(number, monotonic_ns());
    HeldSlot* held = held_[number].get();
    if (held == nullptr) return;
    if (&held->channel() == &channel) return on_message_in_service(number, message);
    if (held->attempt() == &channel) on_message_of_attempt(channel, message);
}

void Crew::on_message_in_service(uint32_t number, const slot::Message& message) {
    const auto worker = static_cast<pid_t>(message.a);
    switch (message.type) {
        case slot::MessageType::started: return log::debug("slot {}: its image has started up", number);
        case slot::MessageType::seated: return on_seated(number, message);
        case slot::MessageType::serving: return on_serving(number, worker);
        case slot::MessageType::backing_off:
            log::warn("worker {} (pid {}) waits {} ms, since its predecessors died early", number, worker,
                      message.b);
            return supervisor_.on_backing_off(number, worker, monotonic_ns());
        case slot::MessageType::clone_failed:
            return log::error("{}", system_error(static_cast<int>(message.b), "clone a standby for slot",
                                                 std::to_string(number))
                                        .text());
        case slot::MessageType::log_replaced: return on_log_replaced(number, static_cast<int>(message.a));
        case slot::MessageType::drained:
            return log::info("slot {} is drained, {} connection{} closed at the end", number, message.a,
                             message.a == 1 ? " was" : "s were");
        case slot::MessageType::unparked: return on_unparked(number, message);
        default:
            log::limited(log::Level::error, "slot message", "slot {} sent a message that is not a slot's",
                         number);
    }
}

void Crew::on_seated(uint32_t number, const slot::Message& message) {
    const auto worker = static_cast<pid_t>(message.a);
    auto standby = static_cast<pid_t>(message.b);
    const auto predecessor = static_cast<pid_t>(message.c);
    const uint32_t image = held_[number]->channel().image();
    const Child* before = children_.find(predecessor);
    if (before != nullptr && before->slot == number) claim(predecessor, number, image, Part::former);
    if (predecessor != 0) held_[number]->on_predecessor(predecessor);
    if (!claim(worker, number, image, Part::worker)) {
        return log::error("slot {} names pid {} as its worker, which is no child of its own", number, worker);
    }
    if (standby != 0 && !claim(standby, number, image, Part::standby)) standby = 0;
    supervisor_.on_seated(number, worker, standby, monotonic_ns());
    held_[number]->repeat_replace_log();
    const std::string next = standby == 0 ? "it has no standby" : fmt::format("its standby is {}", standby);
    if (predecessor == 0) return log::info("worker {} is pid {}, {}", number, worker, next);
    log::info("worker {} is pid {} now, in the place of {}; {}", number, worker, predecessor, next);
}

void Crew::on_serving(uint32_t number, pid_t worker) {
    log::debug("worker {} (pid {}) serves", number, worker);
    supervisor_.on_serving(number, worker, monotonic_ns());
}

void Crew::on_log_replaced(uint32_t number, int sys_errno) {
    held_[number]->on_log_replaced();
    if (sys_errno == 0) return;
    log_failure_ = system_error(sys_errno, "use the log that was opened anew in slot", std::to_string(number),
                                "the slot goes on with the former one")
                       .text();
    log::error("{}", log_failure_);
}

// -- what follows

void Crew::note_ended_tables(uint64_t now) {
    const auto has_ended = [](const auto& held) { return held && held->has_ended(); };
    if (std::none_of(held_.begin(), held_.end(), has_ended)) return;
    reap();
    note_renewals(now);
    for (uint32_t i = 0; i < held_.size(); ++i) {
        if (!held_[i]) continue;
        held_[i]->forget_ended();
        Channel* attempt = held_[i]->attempt();
        if (attempt != nullptr && attempt->is_ended() && !Children::is_child(attempt->image_pid)) {
            roll_out_.on_over(i, "its image is gone", false, now);
        }
        if (!held_[i]->is_table_gone()) continue;
        roll_out_.on_over(i, "worker and standby are gone", true, now);
        carry_out_all(roll_out_.take_actions());
        note_commit(i, now);
        if (held_[i]->is_table_gone()) supervisor_.on_table_gone(i, now);
    }
}

void Crew::tick(uint64_t now) {
    std::vector<Pulse> pulses(held_.size());
    for (uint32_t i = 0; i < held_.size(); ++i) {
        if (!held_[i]) continue;
        slot::SlotMemory& memory = held_[i]->memory();
        pulses[i].heartbeat_ns = memory.worker_control().heartbeat_ns.load(std::memory_order_relaxed);
        pulses[i].open = master::open_connections(memory, static_cast<uint32_t>(names_.size()));
    }
    end_lingering(now);
    forget_previous(now);
    supervisor_.on_tick(pulses, now);
}

void Crew::settle() {
    const uint64_t now = monotonic_ns();
    if (more_have_died_) reap();
    note_ended_tables(now);
    if (now >= next_tick_ns_) tick(now);
    if (now >= next_balance_ns_) balance(now);
    for (;;) {
        supervisor_.conclude(now);
        renew_where_needed(now);
        roll_out_.conclude(serving(), now);
        const std::vector<Action> actions = supervisor_.take_actions();
        const std::vector<RollOutAction> steps = roll_out_.take_actions();
        if (actions.empty() && steps.empty()) break;
        carry_out_all(actions);
        carry_out_all(steps);
    }
    next_tick_ns_ = std::min(supervisor_.next_wake(), roll_out_.next_wake());
    if (supervisor_.is_over()) end_leftovers();
}

// Whoever is left has no descriptor any more: it is on its way out already.
void Crew::end_leftovers() {
    for (uint32_t i = 0; i < held_.size(); ++i) kill_slot(i);
}

// Between the decision to make a slot and its making there is nobody to tell.
void Crew::tell(const Action& action) {
    HeldSlot* held = held_[action.slot].get();
    if (held == nullptr) return;
    if (action.act == Act::pause_accept) held->pause_accept(true);
    if (action.act == Act::resume_accept) held->pause_accept(false);
    if (action.act == Act::retire) held->retire_if_empty();
    if (action.act == Act::tell_drain) held->drain(drain_order_);
    if (action.act == Act::tell_stop) held->stop();
}

void Crew::carry_out(const Action& action) {
    switch (action.act) {
        case Act::give_birth: return give_birth(action.slot, action.number);
        case Act::drop_slot: return drop_slot(action.slot);
        case Act::wake_standby: return wake_standby(action);
        case Act::signal_process:
            children_.send_signal(action.pid, action.slot, static_cast<int>(action.number));
            return;
        case Act::kill_slot: return kill_slot(action.slot);
        case Act::unshield: return unshield(action.pid, worker_oom_raise_);
        case Act::pause_accept:
        case Act::resume_accept:
        case Act::retire:
        case Act::tell_drain:
        case Act::tell_stop: return tell(action);
        case Act::tell_dismissal: return tell_dismissal(action.slot);
        case Act::slot_ended:
            log::info("slot {} has ended", action.slot);
            return outfit_.listeners->close_slot(action.slot);
        case Act::steer: return steer();
        case Act::report_exposed: return report_exposed(action);
        case Act::report_hang:
            return log::error("worker {} (pid {}) has not turned its loop for {} ms, it gets SIGABRT",
                              action.slot, action.pid, action.number);
        case Act::report_stuck: return log::error("slot {} got nowhere in time, it is killed", action.slot);
        case Act::became_ready: return owner_.on_ready();
        case Act::start_failed: return fail_start(action.slot);
    }
}

void Crew::give_birth(uint32_t number, uint32_t image) {
    auto held = HeldSlot::make(outfit_.loop, {number, outfit_.descriptor_limit}, image, *this);
    Result<pid_t> born = held ? execute(**held, (*held)->channel(), current(), slot::Cause::count)
                              : Result<pid_t>(std::move(held.error()));
    if (!born) {
        last_failure_[number] = born.error().text();
        log::error("{}", last_failure_[number]);
        return supervisor_.on_birth_failed(number, monotonic_ns());
    }
    held_[number] = std::move(*held);
    slot_generation_[number] = current_;
    publish_level();
    own_[number].held_back = false;
    if (target_ != current_) roll_out_.add(number);
    claim(*born, number, image, Part::image);
    supervisor_.on_born(number, *born);
    log::debug("slot {}: image {} is pid {}", number, image, *born);
}

Result<pid_t> Crew::execute(HeldSlot& held, Channel& channel, const Generation& generation,
                            slot::Cause cause) {
    for (uint32_t id = 0; id < names_.size(); ++id) held.set_listener_name(id, names_[id]);
    const uint32_t number = channel.slot();
    const Side side = side_of(generation);
    std::vector<slot::ListenSocket> sockets = outfit_.listeners->describe_sockets(number, side);
    std::vector<int> given = outfit_.listeners->sockets_of(number, side);
    std::vector<slot::BirthOwner> owners = birth_owners(generation, given);
    const slot::Birth birth{.image = channel.image(),
                            .slot = number,
                            .slots = outfit_.slots,
                            .descriptor_limit = outfit_.descriptor_limit,
                            .connection_room = static_cast<uint32_t>(
                                make_budget(outfit_.descriptor_limit, given.size()).connections),
                            .log_level = static_cast<uint32_t>(generation.log_level),
                            .is_renewal = cause != slot::Cause::count,
                            .cause = cause,
                            .owners = std::move(owners),
                            .sockets = std::move(sockets),
                            .descriptors = slot::known_descriptors()};
    if (auto sent = slot::send_birth(channel.fd(), birth); !sent) return std::move(sent.error());
    const Inheritance inheritance{.control = channel.slot_end(),
                                  .board = held.board_fd(),
                                  .buffers = held.buffers_fd(),
                                  .counts = outfit_.counts,
                                  .bundle = generation.bundle.get(),
                                  .log = outfit_.log,
                                  .addresses = outfit_.addresses,
                                  .listeners = std::move(given)};
    auto born = execute_image(generation.program.get(), fmt::format("tcpd: standby {}", number), inheritance);
    channel.close_slot_end();
    if (born) channel.image_pid = *born;
    return born;
}

void Crew::drop_slot(uint32_t number) {
    HeldSlot& held = *held_[number];
    const uint64_t lost = retired_.take(held.memory());
    for (uint32_t id = 0; id < names_.size(); ++id) {
        counts_.open(id, number).store(0, std::memory_order_relaxed);
    }
    counts_.steered(number).store(0, std::memory_order_relaxed);
    counts_.buffer_bytes(number).store(0, std::memory_order_relaxed);
    forget_addresses(number);
    if (lost != 0) {
        log::error("slot {} is gone with worker and standby: {} connections are lost", number, lost);
    }
    held_[number].reset();
}

// Rare enough to map them for it alone.
void Crew::forget_addresses(uint32_t number) {
    auto addresses = slot::AddressCounts::map(outfit_.addresses);
    if (!addresses) return log::error("{}", addresses.error().text());
    addresses->drop_table(number);
}

void Crew::wake_standby(const Action& action) {
    HeldSlot* held = held_[action.slot].get();
    if (held == nullptr) return;
    held->tell_death(action.pid);
    const pid_t standby = action.other != 0 ? action.other : unheard_clone(action.slot);
    if (!Children::is_child(standby)) return;
    ::kill(standby, slot::holder_died_signal());
    ::kill(standby, SIGCONT);  // it may have been stopped
}

// The newest clone that slot memory names, unless it is known to be another slot's; 0: none.
pid_t Crew::unheard_clone(uint32_t number) {
    const pid_t pid = held_[number] ? held_[number]->newest_clone() : 0;
    const Child* known = children_.find(pid);
    return known == nullptr || known->slot == number ? pid : 0;
}

void Crew::kill_slot(uint32_t number) {
    for (const pid_t pid : children_.of_slot(number)) children_.send_signal(pid, number, SIGKILL);
    const pid_t clone = unheard_clone(number);
    if (clone != 0) ::kill(clone, SIGKILL);
}

// Where the kernel chooses at random, chance is made up for by the odds, as soon as it has done something.
void Crew::balance(uint64_t now) {
    next_balance_ns_ = now + kBalanceIdleNs;
    if (outfit_.listeners->steers_by_least() || supervisor_.in_service().size() < 2) return;
    Loads loads;
    loads.open.resize(held_.size());
    for (uint32_t slot = 0; slot < held_.size(); ++slot) {
        for (uint32_t id = 0; id < names_.size(); ++id) {
            loads.open[slot] += counts_.open(id, slot).load(std::memory_order_relaxed);
        }
    }
    if (loads.open == loads_.open) return;
    // As many as there are: fewer would overshoot where a crowd comes between two looks.
    loads.expected = std::accumulate(loads.open.begin(), loads.open.end(), uint64_t{0});
    loads_ = std::move(loads);
    steer();
    next_balance_ns_ = now + kBalanceNs;
}

void Crew::steer() {
    std::vector<uint32_t> changed;
    for (uint32_t i = 0; i < slot_generation_.size(); ++i) {
        if (next_ != 0 && slot_generation_[i] == next_) changed.push_back(i);
    }
    const std::vector<uint32_t>& chosen = supervisor_.in_service();
    for (uint32_t i = 0; i < supervisor_.slots(); ++i) {
        const bool is_chosen = std::binary_search(chosen.begin(), chosen.end(), i);
        counts_.in_service(i).store(is_chosen ? 1 : 0, std::memory_order_relaxed);
    }
    auto steered = outfit_.listeners->steer(chosen, changed, loads_);
    if (!steered) log::limited(log::Level::error, "steer", "{}", steered.error().text());
}

void Crew::report_exposed(const Action& action) {
    log::error(
        "slot {} is without a standby: should worker {} die now, its connections are lost; it is renewed, "
        "and "
        "takes no new ones meanwhile if another slot can",
        action.slot, action.pid);
}

void Crew::fail_start(uint32_t number) {
    const std::string& reason = last_failure_[number];
    owner_.on_start_failed(fmt::format("slot {} could not start: {}", number,
                                       reason.empty() ? "its image ended, and said why before" : reason));
}

// -- what the master wants

void Crew::drain() {
    const uint64_t now = monotonic_ns();
    abandon_roll_out("the daemon drains", now);
    const uint64_t limit = to_ns(config().drain.stop);
    drain_order_ = {now, limit == 0 ? 0 : now + limit, config().drain.spread};
    supervisor_.drain(drain_order_.end_ns, now);
    carry_out_all(supervisor_.take_actions());
    outfit_.listeners->close_sockets();
}

void Crew::stop() {
    abandon_roll_out("the daemon stops", monotonic_ns());
    supervisor_.stop(monotonic_ns());
    carry_out_all(supervisor_.take_actions());
    outfit_.listeners->close_sockets();
}

bool Crew::is_log_pending() const {
    return std::any_of(held_.begin(), held_.end(),
                       [](const auto& held) { return held && held->is_log_pending(); });
}

void Crew::replace_log(int fd) {
    outfit_.log = fd;
    log_failure_.clear();
    for (auto& held : held_) {
        if (held) held->replace_log(fd);
    }
}

uint64_t Crew::open_connections() {
    uint64_t open = 0;
    for (auto& held : held_) {
        if (held) open += master::open_connections(held->memory(), static_cast<uint32_t>(names_.size()));
    }
    return open;
}

Demands Crew::demands() {
    Demands demands;
    for (auto& held : held_) {
        if (!held) continue;
        const slot::Needed needed = held->memory().needed();
        if (needed.level > demands.level) {
            demands.level = needed.level;
            demands.thing = needed.name;
        }
        const Demands room = held->room();
        if (demands.records == 0 || room.board_bytes < demands.board_bytes) {
            demands.records = room.records;
            demands.board_bytes = room.board_bytes;
            demands.buffers_bytes = room.buffers_bytes;
        }
    }
    return demands;
}

std::vector<ListenerStatus> Crew::listener_status() {
    std::vector<ListenerStatus> list;
    for (const RosterListener& entry : current().roster) {
        ListenerStatus row{.name = entry.name, .addresses = {}, .totals = retired_.of(entry.id)};
        for (auto& held : held_) {
            if (held) row.totals += read_totals(held->memory(), entry.id);
        }
        for (const ListeningAddress& opened : outfit_.listeners->addresses()) {
            if (entry.is_in_force() && opened.id == entry.id) row.addresses.push_back(opened.address.text());
        }
        row.is_draining = !entry.is_in_force();
        list.push_back(std::move(row));
    }
    return list;
}

std::vector<SlotStatus> Crew::slot_status() {
    std::vector<SlotStatus> list;
    const uint64_t now = monotonic_ns();
    for (uint32_t i = 0; i < held_.size(); ++i) {
        const SupervisedSlot& known = supervisor_.slot(i);
        if (known.state == SlotState::ended) continue;
        SlotStatus row{
            .number = i, .worker = known.worker, .standby = known.standby, .state = name_of(known.state)};
        row.counters.emplace_back("standby_lost", known.standbys_lost);
        if (held_[i]) {
            slot::SlotMemory& memory = held_[i]->memory();
            const auto word =
                slot::ServiceWord::unpack(memory.master_control().word.load(std::memory_order_relaxed));
            row.image = word.in_service;
            row.attempt = word.attempt;
            row.uptime_ns = now - held_[i]->made_ns();
            row.counters.emplace_back("reaped_seats",
                                      memory.master_control().reaped_seats.load(std::memory_order_relaxed));
            row.seats = memory.worker_control().seats_taken.load(std::memory_order_relaxed);
            for (auto& counter : slot_counters(memory)) row.counters.push_back(std::move(counter));
        }
        list.push_back(std::move(row));
    }
    return list;
}

}  // namespace tcpd::master
