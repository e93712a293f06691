#pragma once

// All slots and their processes: carries out what supervisor and roll-out decide, and tells them what
// happened. Master only. Owns slots, generations and the list of children. No death of a child ends the
// master; what can't be done is logged and, where it matters, tried again. Everything is decided in `settle`,
// which the loop calls before it sleeps, so that nothing is freed under its caller; only a standby is woken
// at once. If the master dies, the slots serve on without it (daemon/slot/control_message.h).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "daemon/slot/shared_counts.h"
#include "master/crew/birth.h"
#include "master/crew/children.h"
#include "master/crew/held_slot.h"
#include "master/listen/listeners.h"
#include "master/reexec/demands.h"
#include "master/renewal/generation.h"
#include "master/renewal/roll_out.h"
#include "master/status.h"
#include "master/supervisor.h"

namespace tcpd::master {

// What the crew needs of the master; all borrowed for life.
struct CrewOutfit {
    struct ev_loop* loop = nullptr;
    Listeners* listeners = nullptr;
    unsigned slots = 1;
    uint32_t descriptor_limit = 0;
    int counts = -1, addresses = -1, log = -1;
};

// What a roll-out brings into force.
struct Change {
    conf::Config config;
    UniqueFd program, bundle;
    uint32_t level = slot::kLevel;  // of slot memory, that the program knows
    log::Level log_level = log::Level::info;
    slot::Cause cause = slot::Cause::reload;
};

struct SavedCrew;

class CrewEvents {
public:
    virtual ~CrewEvents() = default;
    // A child that is no slot's; it is reaped right after.
    virtual void on_other_death(const Death& death) = 0;
    virtual void on_ready() = 0;
    virtual void on_start_failed(const std::string& reason) = 0;
    // Of what `roll_out` began. Empty: the change is in force; else what was before it is.
    virtual void on_rolled_out(const std::string& reason) = 0;
};

class Crew : public ChannelMessages {
public:
    Crew(const CrewOutfit& outfit, slot::SharedCounts counts, std::unique_ptr<Generation> first,
         CrewEvents& owner);

    // Over an exec of the master, between two roll-outs.
    SavedCrew save() const;
    static Result<std::unique_ptr<Crew>> take_over(const CrewOutfit& outfit, slot::SharedCounts counts,
                                                   const SavedCrew& saved, CrewEvents& owner);

    // A child may have died: each is looked at, judged and reaped.
    void reap();
    void continue_stopped();
    void settle();
    // When to call settle at the latest, monotonic.
    uint64_t next_wake() const {
        if (more_have_died_) return 0;
        return outfit_.listeners->steers_by_least() ? next_tick_ns_
                                                    : std::min(next_tick_ns_, next_balance_ns_);
    }

    void drain();
    void stop();
    void replace_log(int fd);
    // Some slot has not answered yet.
    bool is_log_pending() const;
    // Why slots go on with the former log, since the last `replace_log`; empty: none does.
    const std::string& log_failure() const { return log_failure_; }
    bool is_over() const { return supervisor_.is_over() && children_.empty(); }
    bool is_draining() const { return supervisor_.is_draining(); }
    bool is_stopping() const { return supervisor_.is_stopping(); }
    bool is_ready() const { return supervisor_.is_ready(); }
    uint64_t open_connections();

    // size.cc
    unsigned workers() const { return static_cast<unsigned>(supervisor_.wanted_slots().size()); }
    // As many slots as that: new ones serve in a moment, connections of those that are too many may end.
    // An Error: as many as there could be.
    Result<void> set_workers(unsigned wanted);
    // Whether they all can be had now.
    Result<void> find_room_for(unsigned wanted) const;
    // Nothing is accepted any more, until `wake`; the connections that there are may end.
    void rest();
    bool is_resting() const { return supervisor_.is_resting(); }
    bool is_empty() const { return children_.empty(); }
    Result<void> wake();

    // The configuration in force.
    const conf::Config& config() const { return current().config; }
    // `worker_oom_raise`: of workers that take a seat from now on.
    void follow_memory(uint64_t auto_total_bytes, int worker_oom_raise) {
        counts_.auto_total_bytes().store(auto_total_bytes, std::memory_order_relaxed);
        worker_oom_raise_ = worker_oom_raise;
    }
    uint64_t buffer_bytes() { return counts_.total_buffer_bytes(); }
    const Generation& current() const { return *generations_.at(current_); }
    bool can_roll_out() const {
        return roll_out_.is_idle() && is_ready() && !is_draining() && !is_stopping();
    }
    // Begins it, if can_roll_out; an Error: nothing has changed.
    Result<void> roll_out(Change change);

    // Of a program that is to take over.
    Demands demands();
    std::vector<ListenerStatus> listener_status();
    std::vector<SlotStatus> slot_status();

    void on_message(Channel& channel, const slot::Message& message) override;

private:
    void tick(uint64_t now);
    void judge(const Death& death);
    std::optional<uint32_t> slot_of_clone(pid_t pid);
    void log_death(const Child& child, const Death& death, uint64_t now);
    void note_ended_tables(uint64_t now);
    void read_all_messages();
    void read_messages_of(pid_t pid);

    void on_message_in_service(uint32_t number, const slot::Message& message);
    void on_seated(uint32_t number, const slot::Message& message);
    void on_serving(uint32_t number, pid_t worker);
    void on_log_replaced(uint32_t number, int sys_errno);
    bool claim(pid_t pid, uint32_t number, uint32_t image, Part part);

    void carry_out(const Action& action);
    void carry_out(const RollOutAction& action);  // renewal.cc
    void carry_out_all(const auto& actions) {
        for (const auto& action : actions) carry_out(action);
    }
    void tell(const Action& action);
    void give_birth(uint32_t number, uint32_t image);
    Result<pid_t> execute(HeldSlot& held, Channel& channel, const Generation& generation, slot::Cause cause);
    void drop_slot(uint32_t number);
    void forget_addresses(uint32_t number);
    void wake_standby(const Action& action);
    pid_t unheard_clone(uint32_t number);
    void kill_slot(uint32_t number);
    void end_leftovers();
    void steer();
    void balance(uint64_t now);
    void report_exposed(const Action& action);
    void fail_start(uint32_t number);
    void dismiss(uint32_t number, Duration limit);
    void tell_dismissal(uint32_t number);

    // renewal.cc
    void on_message_of_attempt(Channel& channel, const slot::Message& message);
    std::string describe_refusal(slot::HandOverEnd end, uint32_t number) const;
    Result<void> find_descriptors() const;
    void on_unparked(uint32_t number, const slot::Message& message);
    void note_death(HeldSlot& held, const Child& child, const Death& death, uint64_t now);
    void abandon_roll_out(const std::string& reason, uint64_t now);
    void note_commit(uint32_t number, uint64_t now);
    void note_renewals(uint64_t now);
    void renew_where_needed(uint64_t now);
    std::vector<bool> serving() const;
    void keep_what_came();
    void execute_attempt(uint32_t number);
    void begin_hand_over(uint32_t number);
    void withdraw(uint32_t number, const std::string& reason);
    void end_lingering(uint64_t now);
    void kill_image(uint32_t number, uint32_t image);
    void finish_own_renewal(const std::string& reason);
    void finish_roll_out(const std::string& reason);
    void forget_generations();
    void forget_previous(uint64_t now);
    bool has_connections(uint32_t id);
    // Bundles of former generations that it names are added to `given`, behind the sockets.
    std::vector<slot::BirthOwner> birth_owners(const Generation& generation, std::vector<int>& given) const;
    Side side_of(const Generation& generation) const;
    void note_names(const Roster& roster);
    void publish_level();

    CrewOutfit outfit_;
    slot::SharedCounts counts_;
    CrewEvents& owner_;
    std::vector<std::string> names_;  // of listeners, by stable id, over all generations so far
    Generations generations_;
    std::string log_failure_;
    bool more_have_died_ = false;  // than one turn reaped
    int worker_oom_raise_ = 1;
    // In force; brought by the roll-out in course, 0 being none; that the roll-out leads to.
    uint32_t current_ = 0, next_ = 0, target_ = 0;
    uint32_t last_generation_ = 0;
    slot::Cause cause_ = slot::Cause::reload;  // of the roll-out in course
    // What an upgrade replaced, kept for a while: a slot whose new worker dies of a fault goes back to it.
    uint32_t previous_ = 0;
    uint64_t previous_until_ns_ = 0;
    struct OwnRenewal {
        bool wanted = false;
        bool held_back = false;  // it went back to what was before an upgrade, and stays there
        uint64_t due_ns = 0;
        unsigned failures = 0;  // in a row
    };
    std::vector<OwnRenewal> own_;            // by slot: apart from any roll-out
    std::optional<uint32_t> own_slot_;       // whose renewal is in course
    std::vector<uint32_t> slot_generation_;  // by slot
    Supervisor supervisor_;
    RollOut roll_out_;
    Children children_;
    std::vector<std::unique_ptr<HeldSlot>> held_;  // by slot; null: none
    std::vector<std::string> last_failure_;        // by slot, in words
    RetiredTotals retired_;
    DrainOrder drain_order_;
    Loads loads_;  // as of the last look
    uint64_t next_balance_ns_ = 0;
    uint64_t next_tick_ns_ = 0;
};

}  // namespace tcpd::master
