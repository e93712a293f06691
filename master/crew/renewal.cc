// The crew's part in renewals: what the roll-out decides is carried out here, and what becomes of it is told.

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "daemon/base/log.h"
#include "daemon/base/signals.h"
#include "master/crew/crew.h"
#include "master/start_up.h"

namespace tcpd::master {

namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr unsigned kMostDoublings = 6;         // a minute between tries
constexpr uint64_t kWatchedNs = 10 * kSecond;  // a new program may be taken back for so long

bool is_fault(const Death& death) {
    if (death.code != CLD_KILLED && death.code != CLD_DUMPED) return false;
    return std::ranges::find(kFaultSignals, death.status) != std::end(kFaultSignals);
}

// The image only saw that the worker before it was gone, or that somebody took everything back. If that
// worker died, its death may not have been reaped yet.
bool is_of_the_other_side(slot::HandOverEnd end) {
    return end == slot::HandOverEnd::withdrawn || end == slot::HandOverEnd::peer_gone;
}

}  // namespace

std::string Crew::describe_refusal(slot::HandOverEnd end, uint32_t number) const {
    std::string text = fmt::format("its new image refused: {}", name_of(end));
    if (end == slot::HandOverEnd::too_few_descriptors)
        text += fmt::format(
            ": its connections and listening sockets need {}, and a worker may have {} (raise the "
            "limit of open files and restart, listen at fewer addresses, or try again with fewer "
            "clients)",
            number, outfit_.descriptor_limit);
    return text;
}

// -- what happened

void Crew::on_message_of_attempt(Channel& channel, const slot::Message& message) {
    const uint64_t now = monotonic_ns();
    switch (message.type) {
        case slot::MessageType::started: return roll_out_.on_started(channel.slot(), now);
        case slot::MessageType::refused_table: {
            const auto end = static_cast<slot::HandOverEnd>(message.b);
            return roll_out_.on_over(channel.slot(), describe_refusal(end, message.c),
                                     is_of_the_other_side(end), now);
        }
        default:
            log::limited(log::Level::error, "attempt message",
                         "slot {}: an image that is not in service sent a message of type {}", channel.slot(),
                         static_cast<uint32_t>(message.type));
    }
}

void Crew::on_unparked(uint32_t number, const slot::Message& message) {
    const auto end = static_cast<slot::HandOverEnd>(message.b);
    Channel* attempt = held_[number]->attempt();
    if (attempt == nullptr || attempt->image() != message.c || end == slot::HandOverEnd::withdrawn) return;
    roll_out_.on_over(number, fmt::format("its worker took everything back: {}", name_of(end)), false,
                      monotonic_ns());
}

// A memory fault is followed by a renewal, since clones share layout and canary.
void Crew::note_death(HeldSlot& held, const Child& child, const Death& death, uint64_t now) {
    Channel* attempt = held.attempt();
    if (attempt != nullptr && child.image == attempt->image()) {
        if (child.pid == attempt->image_pid)
            roll_out_.on_over(child.slot, last_failure_[child.slot], false, now);
        return;
    }
    if (child.image != held.channel().image() || !child.held_seat) return;
    if (roll_out_.state() == RollOutState::handing_over) {
        roll_out_.on_over(child.slot, "its worker died in the middle", true, now);
    }
    if (!is_fault(death)) return;
    if (previous_ != 0 && now < previous_until_ns_ && slot_generation_[child.slot] == current_) {
        log::error("slot {} goes back to the program before the upgrade, since its worker died of a fault",
                   child.slot);
        own_[child.slot].held_back = true;
    }
    own_[child.slot].wanted = true;
    own_[child.slot].due_ns = std::max(own_[child.slot].due_ns, now);
}

void Crew::note_commit(uint32_t number, uint64_t now) {
    HeldSlot* held = held_[number].get();
    if (held == nullptr || !held->note_commit()) return;
    slot_generation_[number] = target_;
    supervisor_.on_renewed(number, held->channel().image(), held->channel().image_pid, now);
    roll_out_.on_committed(number, now);
    held->replace_log(outfit_.log);
    log::info("slot {}: image {} is in service now", number, held->channel().image());
}

void Crew::note_renewals(uint64_t now) {
    for (uint32_t i = 0; i < held_.size(); ++i) note_commit(i, now);
}

// -- what follows

std::vector<bool> Crew::serving() const {
    std::vector<bool> list;
    for (uint32_t i = 0; i < supervisor_.slots(); ++i) {
        list.push_back(supervisor_.slot(i).state == SlotState::serving && !supervisor_.slot(i).retiring);
    }
    return list;
}

// A slot by itself: after a fault, without a standby, or left behind with a generation that is not in force.
void Crew::renew_where_needed(uint64_t now) {
    if (!can_roll_out()) return;
    for (uint32_t i = 0; i < held_.size(); ++i) {
        const bool left_behind = slot_generation_[i] != current_ && !own_[i].held_back;
        const bool wanted = own_[i].wanted || supervisor_.slot(i).exposed || left_behind;
        if (!wanted || !held_[i] || own_[i].due_ns > now || !serving()[i]) continue;
        if (supervisor_.slot(i).dismissed) continue;
        own_slot_ = i;
        cause_ = slot::Cause::fault_renewal;
        target_ = own_[i].held_back ? previous_ : current_;
        return roll_out_.begin({i}, false, now);
    }
}

void Crew::carry_out(const RollOutAction& action) {
    switch (action.act) {
        case RollOutAct::execute: return execute_attempt(action.slot);
        case RollOutAct::hand_over: return begin_hand_over(action.slot);
        case RollOutAct::withdraw: return withdraw(action.slot, action.reason);
        case RollOutAct::turned_back:
            log::error("{}; the slots that have changed already go back", action.reason);
            target_ = current_;
            return keep_what_came();
        case RollOutAct::finished:
            return own_slot_ ? finish_own_renewal(action.reason) : finish_roll_out(action.reason);
    }
}

// Connections of listeners that only the change has are at home nowhere once it is gone; they may end.
void Crew::keep_what_came() {
    Roster& roster = generations_.at(current_)->roster;
    const uint64_t now = monotonic_ns(), limit = to_ns(config().drain.replaced);
    for (RosterListener entry : generations_.at(next_)->roster) {
        const bool known = std::any_of(roster.begin(), roster.end(),
                                       [&](const RosterListener& other) { return other.id == entry.id; });
        if (known) continue;
        entry.drain = {now, limit == 0 ? 0 : now + limit, config().drain.spread};
        roster.push_back(entry);
    }
}

void Crew::execute_attempt(uint32_t number) {
    HeldSlot& held = *held_[number];
    const uint32_t image = supervisor_.take_image_number();
    auto channel = held.open_attempt(outfit_.loop, image, *this);
    Result<pid_t> born = channel ? execute(held, **channel, *generations_.at(target_), cause_)
                                 : Result<pid_t>(std::move(channel.error()));
    if (!born) return roll_out_.on_over(number, born.error().text(), false, monotonic_ns());
    claim(*born, number, image, Part::image);
    log::debug("slot {}: image {} is pid {} and starts up", number, image, *born);
}

void Crew::begin_hand_over(uint32_t number) {
    supervisor_.set_parked(number, true);
    steer();
    if (auto begun = held_[number]->begin_hand_over(); !begun) {
        roll_out_.on_over(number, begun.error().text(), false, monotonic_ns());
    }
}

// Its processes can't commit any more, so they may be killed; if it has committed, it stays.
void Crew::withdraw(uint32_t number, const std::string& reason) {
    HeldSlot* held = held_[number].get();
    if (held == nullptr) return;
    supervisor_.set_parked(number, false);
    const uint32_t image = held->attempt() != nullptr ? held->attempt()->image() : 0;
    if (!held->withdraw_attempt()) return note_commit(number, monotonic_ns());
    log::error("slot {}: image {} does not come into service: {}", number, image, reason);
    kill_image(number, image);
    const pid_t clone = held->attempt_clone();
    if (children_.find(clone) == nullptr && Children::is_child(clone)) ::kill(clone, SIGKILL);
}

// To retire is to exit: one that hangs instead keeps a copy of every connection.
void Crew::end_lingering(uint64_t now) {
    for (uint32_t i = 0; i < held_.size(); ++i) {
        if (!held_[i]) continue;
        for (const uint32_t image : held_[i]->lingering_images(now)) kill_image(i, image);
    }
}

void Crew::kill_image(uint32_t number, uint32_t image) {
    for (const pid_t pid : children_.of_slot(number)) {
        if (children_.find(pid)->image == image) children_.send_signal(pid, number, SIGKILL);
    }
}

void Crew::finish_own_renewal(const std::string& reason) {
    OwnRenewal& own = own_[*own_slot_];
    target_ = current_;
    const uint64_t now = monotonic_ns();
    own.wanted = !reason.empty() && own.wanted;
    own.failures = reason.empty() ? 0 : std::min(own.failures + 1, kMostDoublings);
    own.due_ns = now + (kSecond << own.failures);
    if (!reason.empty()) log::error("{}; it is tried again", reason);
    own_slot_.reset();
}

void Crew::finish_roll_out(const std::string& reason) {
    if (next_ == 0) return log::error("a roll-out has ended that was never begun");
    if (reason.empty()) {
        const bool upgraded = cause_ == slot::Cause::upgrade;
        previous_ = upgraded ? current_ : 0;
        previous_until_ns_ = upgraded ? monotonic_ns() + kWatchedNs : 0;
        for (OwnRenewal& own : own_) own.held_back = false;
        current_ = next_;
        outfit_.listeners->commit(config());
        const conf::Supervisor& wanted = config().supervisor;
        supervisor_.set_times(wanted.respawn_initial, wanted.respawn_max, wanted.watchdog);
        if (auto sized = set_workers(config().worker_count()); !sized) log::error("{}", sized.error().text());
    } else {
        outfit_.listeners->abandon(config());
    }
    target_ = current_;
    next_ = 0;
    forget_generations();
    steer();
    owner_.on_rolled_out(reason);
}

void Crew::abandon_roll_out(const std::string& reason, uint64_t now) {
    roll_out_.abandon(reason, now);
    carry_out_all(roll_out_.take_actions());
}

// -- generations

bool Crew::has_connections(uint32_t id) {
    return std::any_of(held_.begin(), held_.end(),
                       [id](auto& held) { return held && read_totals(held->memory(), id).open != 0; });
}

Result<void> Crew::roll_out(Change change) {
    if (auto room = find_room_for(change.config.worker_count()); !room) return room;
    auto next = std::make_unique<Generation>();
    next->number = last_generation_ + 1;
    const uint64_t now = monotonic_ns();
    auto roster = next_roster({.before = current().roster,
                               .old_config = config(),
                               .new_config = change.config,
                               .new_generation = next->number,
                               .now = now,
                               .given_ids = static_cast<uint32_t>(names_.size()),
                               .has_connections = [this](uint32_t id) { return has_connections(id); }});
    if (!roster) return std::move(roster.error());
    if (auto enough = check_own_descriptors(change.config, outfit_.descriptor_limit); !enough) return enough;
    if (auto ready = outfit_.listeners->prepare(change.config, *roster); !ready) return ready;
    if (auto enough = find_descriptors(); !enough) {
        outfit_.listeners->abandon(config());
        return enough;
    }
    next->config = std::move(change.config);
    next->program = std::move(change.program);
    next->level = change.level;
    next->bundle = std::move(change.bundle);
    next->log_level = change.log_level;
    next->roster = std::move(*roster);
    note_names(next->roster);
    last_generation_ = next_ = target_ = next->number;
    generations_.emplace(next->number, std::move(next));
    publish_level();
    cause_ = change.cause;
    roll_out_.begin(supervisor_.wanted_slots(), true, now);
    return {};
}

// A worker that could take no connection is no use, with whatever is prepared.
Result<void> Crew::find_descriptors() const {
    size_t sockets = 0;
    for (const uint32_t number : supervisor_.wanted_slots())
        sockets = std::max(sockets, outfit_.listeners->sockets_of(number, Side::prepared).size());
    const DescriptorBudget budget = make_budget(outfit_.descriptor_limit, sockets);
    if (budget.connections > 0) return {};
    return no_descriptors(budget, sockets);
}

// In force, and where a stanza of what is in force stands; a slot may have been left behind with another.
void Crew::forget_generations() {
    std::erase_if(generations_, [this](const auto& entry) {
        const uint32_t number = entry.first;
        const auto& roster = current().roster;
        const bool named =
            std::any_of(roster.begin(), roster.end(),
                        [number](const RosterListener& listener) { return listener.generation == number; });
        const bool is_kept = number == previous_ && previous_ != 0;
        return number != current_ && !named && !is_kept;
    });
    publish_level();
}

// A slot may come to each of these programs again.
void Crew::publish_level() {
    uint32_t level = current().level;
    for (const uint32_t number : {next_, previous_}) {
        if (number != 0) level = std::min(level, generations_.at(number)->level);
    }
    for (auto& held : held_) {
        if (held) held->set_level(level);
    }
}

void Crew::forget_previous(uint64_t now) {
    if (previous_ == 0 || now < previous_until_ns_ || !roll_out_.is_idle()) return;
    const bool in_use =
        std::any_of(own_.begin(), own_.end(), [](const OwnRenewal& own) { return own.held_back; });
    if (in_use) return;
    previous_ = 0;
    forget_generations();
}

Side Crew::side_of(const Generation& generation) const {
    return next_ != 0 && generation.number == next_ ? Side::prepared : Side::in_force;
}

std::vector<slot::BirthOwner> Crew::birth_owners(const Generation& generation,
                                                 std::vector<int>& given) const {
    std::vector<slot::BirthOwner> list;
    std::map<uint32_t, int> bundle_fds = {{generation.number, slot::kBundleFd}};
    for (const RosterListener& entry : generation.roster) {
        const int next_fd = slot::kFirstListenFd + static_cast<int>(given.size());
        const auto [at, is_new] = bundle_fds.try_emplace(entry.generation, next_fd);
        if (is_new) given.push_back(generations_.at(entry.generation)->bundle.get());
        list.push_back({.kind = static_cast<uint32_t>(slot::OwnerKind::listener),
                        .id = entry.id,
                        .bundle_fd = at->second,
                        .index = entry.index,
                        .spread = entry.drain.spread ? 1U : 0U,
                        .spare = 0,
                        .drain_begin_ns = entry.drain.begin_ns,
                        .drain_end_ns = entry.drain.end_ns});
    }
    return list;
}

}  // namespace tcpd::master
