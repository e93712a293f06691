// What changes while it runs: the configuration, the number of workers.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/log.h"
#include "master/master_process.h"
#include "master/renewal/reload.h"

namespace tcpd::master {

// -- reload

void MasterProcess::begin_change() {
    if (!changes_.is_waiting()) return;
    if (crew_->is_draining() || crew_->is_stopping()) return refuse_changes("tcpd is about to stop");
    if (!crew_->can_roll_out() || !changes_.begin_next()) return;
    auto begun = reload();
    if (!begun) finish_change(begun.error().text());
}

void MasterProcess::refuse_changes(const std::string& reason) {
    if (!changes_.begin_next()) return;
    finish_change(reason);
}

Result<void> MasterProcess::reload() {
    log::info("reloading {}", options_.config_path);
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
    Change change{.program = UniqueFd(::fcntl(program_.get(), F_DUPFD_CLOEXEC, 3)),
                  .bundle = std::move(read->bundle),
                  .log_level = options_.log_level.value_or(read->config.log.level),
                  .cause = slot::Cause::reload};
    if (!change.program) return system_error(errno, "keep the running program");
    change.config = std::move(read->config);
    if (crew_->is_resting()) {
        if (auto awake = crew_->wake(); !awake) return awake;
    }
    return crew_->roll_out(std::move(change));
}

void MasterProcess::on_rolled_out(const std::string& reason) { finish_change(reason); }

// The new settings hold for the master's own lines, too.
void MasterProcess::follow_log(const conf::Log& settings) {
    if (next_log_ && ::dup3(next_log_.get(), log_fd_.get(), O_CLOEXEC) >= 0)
        crew_->replace_log(log_fd_.get());
    next_log_.reset();
    log::start({.level = options_.log_level.value_or(settings.level),
                .format = settings.format,
                .fd = log_fd_.get(),
                .who = "master"});
}

void MasterProcess::finish_change(const std::string& reason) {
    const ChangeRequest request = changes_.finish();
    if (reason.empty()) {
        follow_log(crew_->config().log);
        report_listening();
        log::info("the new configuration is in force");
    } else {
        log::error("the reload failed, the old configuration stays in force: {}", reason);
    }
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
    service_->status("drained, nothing is accepted until a reload");
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
