// What changes while it runs: the configuration, the number of workers.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/log.h"
#include "daemon/base/owned_folder.h"
#include "master/master_process.h"
#include "master/reexec/reexec.h"
#include "master/renewal/reload.h"

namespace tcpd::master {

namespace {

Error nothing_served() {
    return Error{ErrorCode::refused, "upgrade", "", 0, "nothing is served now", "reload first"};
}

void say_unrestored(const std::string& path, const Error& why) {
    log::error(
        "{} is gone, or another's, and can't be made anew; -s does not find this tcpd, which goes on: {}",
        path, why.text());
}

// Why not; empty: it was done.
template <typename T>
std::string reason_of(const Result<T>& done) {
    return done ? std::string() : done.error().text();
}

}  // namespace

// -- reload and upgrade

void MasterProcess::restore_log() {
    const std::string& output = crew_->config().log.output;
    if (output == "stderr") return;
    const auto place = FilePlace::find(output, LastLink::followed);
    if (place && place->holds(tcpd::id_of(log_fd_.get()))) return;
    if (const auto done = reopen_log(); !done)
        log::error("the log is gone from {}, or another's: {}", output, done.error().text());
}

// A cleaner of temporary files, or somebody else, may have taken what the start made. Where another tcpd has the pid
// file by now, the control socket beside it is its own.
void MasterProcess::restore_own_files() {
    restore_log();
    if (!pid_file_) return;
    const auto pid_file = pid_file_->restore();
    if (!pid_file) return say_unrestored(pid_file_->path(), pid_file.error());
    if (*pid_file)
        log::warn("the pid file {} was gone, or another's: it is made and locked anew", pid_file_->path());
    const std::string path = control::socket_path(pid_file_->path());
    const auto control = control_->restore();
    if (!control) return say_unrestored(path, control.error());
    if (*control) log::warn("the control socket {} was gone, or another's: it is bound anew", path);
}

// False: none was to be begun now.
bool MasterProcess::begin_change() {
    if (!changes_.is_waiting()) return false;
    if (crew_->is_draining() || crew_->is_stopping()) return refuse_changes("tcpd is about to stop");
    if (!crew_->can_roll_out() || !changes_.begin_next()) return false;
    service_->reloading(describe_state());
    failure_code_ = ErrorCode::refused;
    restore_own_files();
    const bool is_upgrade = changes_.in_course()->kind == ChangeKind::upgrade;
    auto begun = is_upgrade ? upgrade() : reload();
    if (begun) return true;
    failure_code_ = begun.error().code;
    finish_change(begun.error().text());
    return true;
}

bool MasterProcess::refuse_changes(const std::string& reason) {
    if (!changes_.begin_next()) return false;
    failure_code_ = ErrorCode::refused;
    finish_change(reason);
    return true;
}

Result<void> MasterProcess::reload() {
    log::info("reloading {}", options_.config_path);
    auto change = read_change(program_.get(), slot::kLevel, slot::Cause::reload);
    if (!change) return std::move(change.error());
    const bool rests = crew_->is_resting();
    if (rests) {
        if (auto awake = crew_->wake(); !awake) return awake;
    }
    auto begun = crew_->roll_out(std::move(*change));
    if (!begun && rests) crew_->rest();
    return begun;
}

Result<void> MasterProcess::upgrade() {
    log::info("upgrading to {}", options_.program_path);
    if (crew_->is_resting()) return nothing_served();
    carry_out(upgrade_.begin());
    return {};
}

// What happens before the loop sleeps is between two renewals, with nothing half done. False: nothing was to
// be done now.
bool MasterProcess::go_on_with_upgrade() {
    UpgradeAction next;
    if (crew_->is_draining() || crew_->is_stopping()) {
        next = upgrade_.abandon("tcpd is about to stop");
    } else if (crew_->can_roll_out()) {
        next = upgrade_.on_crew_free();
    }
    carry_out(next);
    return next.act != UpgradeAct::none;
}

// The program is tried by children: the loop goes on meanwhile.
void MasterProcess::carry_out(const UpgradeAction& action) {
    switch (action.act) {
        case UpgradeAct::none: return;
        case UpgradeAct::check:
            return trial_.check(options_.program_path, options_.config_path, crew_->demands(),
                                [this](Result<CheckedProgram> program) { on_checked(std::move(program)); });
        case UpgradeAct::probe:
            return trial_.probe(next_program_.get(), save(), [this](const Result<void>& tried) {
                carry_out(upgrade_.on_probed(reason_of(tried)));
            });
        case UpgradeAct::roll_out:
            if (auto begun = roll_out_next_program(); !begun)
                carry_out(upgrade_.on_rolled_out(begun.error().text()));
            return;
        case UpgradeAct::execute: return carry_out(upgrade_.on_execute_failed(execute_next_program().text()));
        case UpgradeAct::turned_back:
            log::error("{}; the slots go back to the program before", action.reason);
            next_program_.reset(::fcntl(program_.get(), F_DUPFD_CLOEXEC, 3));
            next_level_ = slot::kLevel;
            return;
        case UpgradeAct::finished: return finish_change(action.reason);
    }
}

void MasterProcess::on_checked(Result<CheckedProgram> program) {
    if (program) {
        next_program_ = std::move(program->program);
        next_level_ = program->level;
    } else {
        failure_code_ = program.error().code;
    }
    carry_out(upgrade_.on_checked(reason_of(program)));
}

Result<void> MasterProcess::roll_out_next_program() {
    if (crew_->is_resting()) return nothing_served();
    auto change = read_change(next_program_.get(), next_level_, slot::Cause::upgrade);
    if (!change) return std::move(change.error());
    return crew_->roll_out(std::move(*change));
}

// Returns only if it could not be done.
Error MasterProcess::execute_next_program() {
    service_->show_environment();
    Error failed = execute_in_place(next_program_.get(), save());
    service_->hide_environment();
    return failed;
}

Result<Change> MasterProcess::read_change(int program, uint32_t level, slot::Cause cause) {
    const conf::Config& in_force = crew_->config();
    auto read = read_new_config(options_.config_path, in_force);
    if (!read) return std::move(read.error());
    for (const std::string& warning : read->warnings) log::warn("{}", warning);
    next_log_.reset();
    if (read->config.log.output != in_force.log.output) {
        auto opened = open_log(read->config.log.output);
        if (!opened) return std::move(opened.error());
        next_log_ = std::move(*opened);
    }
    UniqueFd kept(::fcntl(program, F_DUPFD_CLOEXEC, 3));
    if (!kept) return system_error(errno, "keep the program");
    return Change{.config = std::move(read->config),
                  .program = std::move(kept),
                  .bundle = std::move(read->bundle),
                  .level = level,
                  .log_level = options_.log_level.value_or(read->config.log.level),
                  .cause = cause};
}

void MasterProcess::on_rolled_out(const std::string& reason) {
    if (reason.empty()) {
        budget_ = make_budget(budget_.limit, listeners_->addresses().size());
        follow_log(crew_->config().log);
        reckon_memory();
    }
    if (changes_.in_course()->kind == ChangeKind::reload) return finish_change(reason);
    carry_out(upgrade_.on_rolled_out(reason));
}

// The new settings hold for the master's own lines, too.
void MasterProcess::follow_log(const conf::Log& settings) {
    if (next_log_ && ::dup3(next_log_.get(), log_fd_.get(), O_CLOEXEC) >= 0)
        crew_->replace_log(log_fd_.get());
    next_log_.reset();
    start_log(settings, options_.log_level, log_fd_.get());
}

void MasterProcess::finish_change(const std::string& reason) {
    const ChangeRequest request = changes_.finish();
    const bool is_upgrade = request.kind == ChangeKind::upgrade;
    if (reason.empty()) {
        report_listening();
        log::info("the new configuration is in force");
        last_failure_.clear();
    } else if (is_upgrade) {
        log::error("the upgrade failed, the old program goes on: {}", reason);
        last_failure_ = "the last upgrade failed: " + reason;
    } else {
        log::error("the reload failed, the old configuration stays in force: {}", reason);
        last_failure_ = "the last reload failed: " + reason;
    }
    trial_.abandon();
    next_program_.reset();
    service_->ready(describe_state());
    for (const RequestId id : request.askers) {
        reason.empty() ? control_->finish(id, "reloaded")
                       : control_->fail(id, {.code = failure_code_, .reason = reason});
    }
}

// -- workers

namespace {

// The keys and the resizing of a terminal must not drain a server that somebody tries out.
bool has_terminal(const char* signal_name) {
    const UniqueFd terminal(::open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (terminal) log::info("{} is ignored: tcpd runs in a terminal, whose signals these are", signal_name);
    return bool{terminal};
}

}  // namespace

void MasterProcess::on_winch() {
    if (!has_terminal("SIGWINCH")) rest();
}

void MasterProcess::rest() {
    if (crew_->is_draining() || crew_->is_stopping() || crew_->is_resting()) return;
    log::info("{}; nothing is accepted until a reload", describe_drain());
    crew_->rest();
    service_->report(monotonic_ns(), describe_state(), false);
}

void MasterProcess::change_workers(int by) {
    if (has_terminal(by > 0 ? "SIGTTIN" : "SIGTTOU")) return;
    if (crew_->is_draining() || crew_->is_stopping() || crew_->is_resting()) return;
    const unsigned before = crew_->workers();
    auto done = crew_->set_workers(static_cast<unsigned>(static_cast<int>(before) + by));
    if (!done) return log::error("{}", done.error().text());
    log::info("{} workers are wanted now, {} were", crew_->workers(), before);
    reckon_memory();
}

}  // namespace tcpd::master
