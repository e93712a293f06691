#pragma once

// The master as a process: its loop, its signals, and what is asked of it. master.h has what it promises. Its
// parts, in reading order: master_process.cc (start, loop, requests), changes.cc (reload and upgrade, the
// number of workers), over_exec.cc, service.cc (what the service manager hears). Master only.

#include <ev.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/notify.h"
#include "daemon/base/watcher.h"
#include "master/control_server.h"
#include "master/crew/crew.h"
#include "master/master.h"
#include "master/memory_budget.h"
#include "master/pid_file.h"
#include "master/reexec/state.h"
#include "master/reexec/trial.h"
#include "master/renewal/change_queue.h"
#include "master/renewal/upgrade.h"
#include "master/start_up.h"

namespace tcpd::master {

struct LoopEnd {
    void operator()(struct ev_loop* loop) const { ev_loop_destroy(loop); }
};
using Loop = std::unique_ptr<struct ev_loop, LoopEnd>;

class MasterProcess : public CrewEvents, public Requests {
public:
    MasterProcess(Options options, Loop loop, UniqueFd log_fd, uint64_t begun_ns);
    // Everything up to the first birth; an Error ends it.
    Result<void> start(InheritedSockets inherited);
    // Instead of `start`, after an exec in place: all that `state` has; an Error ends it, or the probe.
    Result<void> take_over(const MasterState& state);
    void go_on(const MasterState& state);
    void follow_log(const conf::Log& settings);
    const conf::Config& config() const { return crew_->config(); }
    int serve();

    void on_other_death(const Death& death) override;
    void on_ready() override;
    void on_start_failed(const std::string& reason) override;
    void on_rolled_out(const std::string& reason) override;
    void on_request(RequestId id, std::string_view verb) override;

private:
    void start_signals();
    Result<void> settle_in();
    Result<void> lock_pid_file();
    Result<void> open_control_socket();
    void restore_own_files();
    void restore_log();
    Result<void> make_crew();
    Result<void> make_counts();
    CrewOutfit outfit(unsigned slots, uint64_t descriptor_limit);
    void report_start();
    void report_listening();
    void reckon_memory();

    void on_term();
    void on_int();
    void on_usr1();
    void on_chld() { crew_->reap(); }
    void on_hup() { changes_.ask(ChangeKind::reload, std::nullopt); }
    void on_usr2() { changes_.ask(ChangeKind::upgrade, std::nullopt); }
    void on_winch();
    void on_ttin() { change_workers(+1); }
    void on_ttou() { change_workers(-1); }
    void before_sleep();
    void on_timer();

    void rest();
    void change_workers(int by);

    Result<void> reopen_log();
    void finish_reopening();
    bool begin_change();
    Result<void> reload();
    Result<void> upgrade();
    bool go_on_with_upgrade();
    void carry_out(const UpgradeAction& action);
    void on_checked(Result<CheckedProgram> program);
    Result<void> roll_out_next_program();
    Error execute_next_program();
    Result<Change> read_change(int program, uint32_t level, slot::Cause cause);
    MasterState save() const;
    void finish_change(const std::string& reason);
    bool refuse_changes(const std::string& reason);

    void drain();
    void stop();
    std::string describe_drain() const;
    std::string describe_state();
    void report_to_service(uint64_t now);
    std::string status();
    const char* state() const;
    void finish();
    void finish_all(std::vector<RequestId>& requests, const char* outcome);

    Options options_;
    Loop loop_;
    uint64_t begun_ns_;
    UniqueFd log_fd_;
    int exit_code_ = kExitFine;
    std::optional<ServiceManager> service_;
    std::optional<PidFile> pid_file_;
    std::optional<Listeners> listeners_;
    DescriptorBudget budget_;
    MemoryBudget memory_;
    UniqueFd program_, counts_, addresses_;
    std::unique_ptr<ControlServer> control_;
    std::unique_ptr<Crew> crew_;
    std::vector<RequestId> stop_requests_, drain_requests_, reopen_requests_;
    ChangeQueue changes_;
    Upgrade upgrade_;
    UniqueFd next_program_;  // the upgrade's target
    uint32_t next_level_ = slot::kLevel;
    Trial trial_;
    ErrorCode failure_code_ = ErrorCode::refused;  // of the change in course, if it fails
    std::string last_failure_;                     // of the last change, for the service manager
    UniqueFd next_log_;                            // of the change in course, if it has another output
    SignalWatcher<MasterProcess, &MasterProcess::on_term> term_, quit_;
    SignalWatcher<MasterProcess, &MasterProcess::on_int> int_;
    SignalWatcher<MasterProcess, &MasterProcess::on_usr1> usr1_;
    SignalWatcher<MasterProcess, &MasterProcess::on_chld> chld_;
    SignalWatcher<MasterProcess, &MasterProcess::on_hup> hup_;
    SignalWatcher<MasterProcess, &MasterProcess::on_usr2> usr2_;
    SignalWatcher<MasterProcess, &MasterProcess::on_winch> winch_;
    SignalWatcher<MasterProcess, &MasterProcess::on_ttin> ttin_;
    SignalWatcher<MasterProcess, &MasterProcess::on_ttou> ttou_;
    TimerWatcher<MasterProcess, &MasterProcess::on_timer> timer_;
    PrepareWatcher<MasterProcess, &MasterProcess::before_sleep> before_sleep_;
};

}  // namespace tcpd::master
