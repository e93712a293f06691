#pragma once

// All slots and their processes: carries out what the supervisor decides, and tells it what happened. Master
// only. Owns slots, supervisor and the list of children. No death of a child ends the master; what can't be
// done is logged and, where it matters, tried again. Everything is decided in `settle`, which the loop calls
// before it sleeps, so that nothing is freed under its caller; only a standby is woken at once. If the master
// dies, the slots serve on without it (daemon/slot/control_message.h).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "daemon/slot/shared_counts.h"
#include "master/birth.h"
#include "master/children.h"
#include "master/held_slot.h"
#include "master/listen/listeners.h"
#include "master/status.h"
#include "master/supervisor.h"

namespace tcpd::master {

// What the crew needs of the master; all borrowed for life.
struct CrewOutfit {
    struct ev_loop* loop = nullptr;
    const conf::Config* config = nullptr;
    Listeners* listeners = nullptr;
    unsigned slots = 1;
    uint32_t descriptor_limit = 0;
    log::Level log_level = log::Level::info;
    int program = -1, bundle = -1, counts = -1, log = -1;
};

class CrewEvents {
public:
    virtual ~CrewEvents() = default;
    virtual void on_ready() = 0;
    virtual void on_start_failed(const std::string& reason) = 0;
};

class Crew : public SlotMessages {
public:
    Crew(const CrewOutfit& outfit, slot::SharedCounts counts, CrewEvents& owner);

    // A child may have died: each is looked at, judged and reaped.
    void reap();
    void settle();
    // When to call settle at the latest, monotonic.
    uint64_t next_wake() const { return next_tick_ns_; }

    void drain();
    void stop();
    void replace_log(int fd);
    bool is_over() const { return supervisor_.is_over() && children_.empty(); }
    bool is_draining() const { return supervisor_.is_draining(); }
    bool is_stopping() const { return supervisor_.is_stopping(); }
    bool is_ready() const { return supervisor_.is_ready(); }
    uint64_t open_connections();

    std::vector<ListenerStatus> listener_status();
    std::vector<SlotStatus> slot_status();

    void on_message(uint32_t slot, const slot::Message& message) override;

private:
    void tick(uint64_t now);
    void judge(const Death& death);
    std::optional<uint32_t> slot_of_clone(pid_t pid);
    void log_death(const Child& child, const Death& death, uint64_t now);
    void note_ended_tables(uint64_t now);
    void read_all_messages();

    void on_seated(uint32_t number, const slot::Message& message);
    void on_serving(uint32_t number, pid_t worker);
    bool claim(pid_t pid, uint32_t number, Part part);

    void carry_out(const Action& action);
    void tell(const Action& action);
    void give_birth(uint32_t number, uint32_t image);
    Result<pid_t> execute(HeldSlot& held, uint32_t number, uint32_t image);
    void drop_slot(uint32_t number);
    void wake_standby(const Action& action);
    pid_t unheard_clone(uint32_t number);
    void kill_slot(uint32_t number);
    void end_leftovers();
    void steer();
    void report_exposed(const Action& action);
    void fail_start(uint32_t number);

    CrewOutfit outfit_;
    slot::SharedCounts counts_;
    CrewEvents& owner_;
    std::vector<std::string> names_;  // of listeners, by stable id
    Supervisor supervisor_;
    Children children_;
    std::vector<std::unique_ptr<HeldSlot>> held_;  // by slot; null: none
    std::vector<std::string> last_failure_;        // by slot, in words
    RetiredTotals retired_;
    DrainOrder drain_order_;
    uint64_t next_tick_ns_ = 0;
};

}  // namespace tcpd::master
