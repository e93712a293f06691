// The master before and after an exec in place.

#include <fmt/format.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/signals.h"
#include "daemon/base/version.h"
#include "master/master_process.h"
#include "master/reexec/reexec.h"

namespace tcpd::master {

MasterState MasterProcess::save() const {
    MasterState state{.version = kVersion,
                      .config_path = options_.config_path,
                      .program_path = options_.program_path,
                      .has_log_level = options_.log_level.has_value(),
                      .log_level = static_cast<uint32_t>(options_.log_level.value_or(log::Level::info)),
                      .begun_ns = begun_ns_,
                      .program_fd = next_program_ ? next_program_.get() : program_.get(),
                      .counts_fd = counts_.get(),
                      .address_counts_fd = addresses_.get(),
                      .log_fd = log_fd_.get(),
                      .descriptor_limit = budget_.limit,
                      .pid_file_fd = pid_file_ ? pid_file_->fd() : -1,
                      .askers = {},
                      .drain_askers = {drain_requests_.begin(), drain_requests_.end()},
                      .crew = crew_->save()};
    if (changes_.in_course()) state.askers = changes_.in_course()->askers;
    if (changes_.waiting()) {
        state.change_waits = true;
        state.waiting_is_upgrade = changes_.waiting()->kind == ChangeKind::upgrade;
        state.waiting_askers = changes_.waiting()->askers;
    }
    if (control_) control_->save(state);
    listeners_->save(state);
    return state;
}

Result<void> MasterProcess::take_over(const MasterState& state) {
    start_signals();
    budget_.limit = state.descriptor_limit;
    auto settled = settle_in();
    if (!settled) return settled;
    program_.reset(state.program_fd);
    counts_.reset(state.counts_fd);
    addresses_.reset(state.address_counts_fd);
    if (state.pid_file_fd >= 0) {
        pid_file_.emplace(PidFile::take_over(options_.config.pid_file, UniqueFd(state.pid_file_fd)));
        control_ = ControlServer::take_over(loop_.get(), state, *this);
    }
    auto listeners = Listeners::take_over(state, options_.config);
    if (!listeners) return std::move(listeners.error());
    listeners_.emplace(std::move(*listeners));
    if (is_counts_map(counts_.get())) listeners_->count_in(counts_.get());
    budget_ = make_budget(budget_.limit, listeners_->addresses().size());
    auto mapped = slot::SharedCounts::map(counts_.get());
    if (!mapped) return std::move(mapped.error());
    const auto slots = static_cast<unsigned>(state.crew.slots.size());
    auto crew = Crew::take_over(outfit(slots, state.descriptor_limit), std::move(*mapped), state.crew, *this);
    if (!crew) return std::move(crew.error());
    crew_ = std::move(*crew);
    chld_.start(SIGCHLD);
    drain_requests_.assign(state.drain_askers.begin(), state.drain_askers.end());
    if (state.change_waits) {
        changes_.take_over(ChangeRequest{state.waiting_is_upgrade ? ChangeKind::upgrade : ChangeKind::reload,
                                         state.waiting_askers});
    }
    return {};
}

// What came before the exec and was not reaped; then the answers to who asked for it.
void MasterProcess::go_on(const MasterState& state) {
    crew_->reap();
    unblock_all_signals();
    log::info("tcpd {} goes on in the place of {}", kVersion, state.version);
    reckon_memory();
    service_->ready(describe_state());
    for (const RequestId id : state.askers)
        control_->finish(id, fmt::format("upgraded to tcpd {}", kVersion));
}

}  // namespace tcpd::master
