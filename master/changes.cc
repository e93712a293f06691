// What changes while it runs: the configuration, the number of workers.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/log.h"
#include "master/master_process.h"
#include "master/reexec/reexec.h"
#include "master/renewal/reload.h"

namespace tcpd::master {

namespace {

Error nothing_served() {
    return Error{ErrorCode::refused, "upgrade", "", 0, "nothing is served now", "reload first"};
}

}  // namespace

// -- reload and upgrade

void MasterProcess::begin_change() {
    if (!changes_.is_waiting()) return;
    if (crew_->is_draining() || crew_->is_stopping()) return refuse_changes("tcpd is about to stop");
    if (!crew_->can_roll_out() || !changes_.begin_next()) return;
    service_->reloading(describe_state());
    const bool is_upgrade = changes_.in_course()->kind == ChangeKind::upgrade;
    auto begun = is_upgrade ? upgrade() : reload();
    if (!begun) finish_change(begun.error().text());
}

void MasterProcess::refuse_changes(const std::string& reason) {
    if (!changes_.begin_next()) return;
    finish_change(reason);
}

Result<void> MasterProcess::reload() {
    log::info("reloading {}", options_.config_path);
    auto change = read_change(program_.get(), slot::Cause::reload);
    if (!change) return std::move(change.error());
    if (crew_->is_resting()) {
        if (auto awake = crew_->wake(); !awake) return awake;
    }
    return crew_->roll_out(std::move(*change));
}

// The slots first, the master itself last: until then the old one decides, and can take everything back. The
// program is tried before anything moves, and the loop goes on meanwhile.
Result<void> MasterProcess::upgrade() {
    log::info("upgrading to {}", options_.program_path);
    if (crew_->is_resting()) return nothing_served();
    trial_.check(options_.program_path, options_.config_path,
                 [this](Result<UniqueFd> program) { on_checked(std::move(program)); });
    return {};
}

void MasterProcess::on_checked(Result<UniqueFd> program) {
    if (!program) return finish_change(program.error().text());
    next_program_ = std::move(*program);
    next_step_ = UpgradeStep::try_first;
}

// What happens before the loop sleeps is between two renewals, with nothing half done.
void MasterProcess::take_next_step() {
    if (next_step_ == UpgradeStep::none && !trial_.is_busy()) return;
    if (crew_->is_draining() || crew_->is_stopping()) {
        next_step_ = UpgradeStep::none;
        going_back_reason_.clear();
        return finish_change("tcpd is about to stop");
    }
    if (next_step_ == UpgradeStep::none || !crew_->can_roll_out()) return;
    take_step(std::exchange(next_step_, UpgradeStep::none));
}

void MasterProcess::take_step(UpgradeStep step) {
    switch (step) {
        case UpgradeStep::none: return;
        case UpgradeStep::try_first:
            return trial_.probe(next_program_.get(), save(), [this](const Result<void>& tried) {
                if (!tried) return finish_change(tried.error().text());
                next_step_ = UpgradeStep::roll_out;
            });
        case UpgradeStep::roll_out: return begin_roll_out();
        case UpgradeStep::try_again:
            return trial_.probe(next_program_.get(), save(), [this](const Result<void>& tried) {
                if (!tried) return go_back(tried.error().text());
                next_step_ = UpgradeStep::exec;
            });
        case UpgradeStep::exec: return replace_program();
    }
}

void MasterProcess::begin_roll_out() {
    if (crew_->is_resting()) return finish_change(nothing_served().text());
    auto change = read_change(next_program_.get(), slot::Cause::upgrade);
    auto begun = change ? crew_->roll_out(std::move(*change)) : Result<void>(std::move(change.error()));
    if (begun) return;
    const std::string why_back = std::exchange(going_back_reason_, {});
    finish_change(why_back.empty() ? begun.error().text() : why_back);
}

Result<Change> MasterProcess::read_change(int program, slot::Cause cause) {
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
                  .log_level = options_.log_level.value_or(read->config.log.level),
                  .cause = cause};
}

void MasterProcess::on_rolled_out(const std::string& reason) {
    if (reason.empty()) follow_log(crew_->config().log);
    if (!going_back_reason_.empty()) return finish_change(std::exchange(going_back_reason_, {}));
    const bool is_upgrade = changes_.in_course()->kind == ChangeKind::upgrade;
    if (!is_upgrade || !reason.empty()) return finish_change(reason);
    next_step_ = UpgradeStep::try_again;
}

// Every slot runs the new program; the master follows, or all go back.
void MasterProcess::replace_program() {
    service_->show_environment();
    const Error failed = execute_in_place(next_program_.get(), save());
    service_->hide_environment();
    go_back(failed.text());
}

void MasterProcess::go_back(const std::string& reason) {
    next_program_.reset(::fcntl(program_.get(), F_DUPFD_CLOEXEC, 3));
    going_back_reason_ = reason;
    log::error("{}; the slots go back to the program before", reason);
    next_step_ = UpgradeStep::roll_out;
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
        reason.empty() ? control_->finish(id, "reloaded") : control_->fail(id, reason);
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
}

}  // namespace tcpd::master
