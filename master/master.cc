#include "master/master.h"

#include <ev.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/process.h"
#include "master/master_process.h"
#include "master/reexec/reexec.h"

namespace tcpd::master {

namespace {

Result<Loop> make_loop() {
    Loop loop(ev_loop_new(unsigned{EVBACKEND_EPOLL} | unsigned{EVFLAG_NOENV}));
    if (!loop) return system_error(errno, "make an event loop");
    return loop;
}

int refuse(const Error& error) {
    log::error("{}", error.text());
    return kExitSystem;
}

Error passed_twice(int fd) {
    return Error{ErrorCode::bad_usage,
                 "use --notify-fd",
                 std::to_string(fd),
                 0,
                 "LISTEN_FDS names this descriptor as a socket to listen on",
                 "give it a number behind those"};
}

}  // namespace

int run(Options options) {
    const uint64_t begun_ns = monotonic_ns();
    log::start({});
    reset_signals();
    if (auto settled = settle_standard_descriptors(); !settled) return refuse(settled.error());
    seal_descriptors();
    auto inherited = InheritedSockets::from_environment();
    if (!inherited) return refuse(inherited.error());
    if (inherited->holds(options.notify_fd)) return refuse(passed_twice(options.notify_fd));
    auto log_fd = open_log(options.config.log.output);
    if (!log_fd) return refuse(log_fd.error());
    start_log(options.config.log, options.log_level, log_fd->get());
    auto loop = make_loop();
    if (!loop) return refuse(loop.error());
    const conf::Log log_settings = options.config.log;
    MasterProcess master(std::move(options), std::move(*loop), std::move(*log_fd), begun_ns);
    auto started = master.start(std::move(*inherited));
    if (started) return master.serve();
    say_failure(started.error().text(), log_settings);
    return kExitSystem;
}

namespace {

Result<conf::Config> config_in_force(const MasterState& state) {
    const auto& list = state.crew.generations;
    const auto at = std::find_if(list.begin(), list.end(), [&](const SavedGeneration& generation) {
        return generation.number == state.crew.current;
    });
    if (at == list.end()) {
        return Error{ErrorCode::bad_format, "take over the configuration", "", 0, "none is in force"};
    }
    return read_config(at->bundle_fd);
}

Result<std::unique_ptr<MasterProcess>> take_over(const MasterState& state) {
    auto config = config_in_force(state);
    if (!config) return std::move(config.error());
    Options options{.config = std::move(*config),
                    .snapshot = {},
                    .config_path = state.config_path,
                    .program_path = state.program_path,
                    .log_level = std::nullopt,
                    .warnings = {}};
    if (state.has_log_level) options.log_level = static_cast<log::Level>(state.log_level);
    auto loop = make_loop();
    if (!loop) return std::move(loop.error());
    auto master = std::make_unique<MasterProcess>(std::move(options), std::move(*loop),
                                                  UniqueFd(state.log_fd), state.begun_ns);
    if (auto taken = master->take_over(state); !taken) {
        // What it owns by now is the real master's, or is served on by the slots: nothing is taken down.
        [[maybe_unused]] const auto* left = master.release();
        return std::move(taken.error());
    }
    return master;
}

int refuse_resume(const Error& error, bool is_probe) {
    if (is_probe) fmt::print(stderr, "{}\n", error.text());
    return is_probe ? kExitSystem : refuse(error);
}

}  // namespace

// All signals are blocked until the end of this: one that came over the exec would end a process that has set
// no disposition yet. A probe ends without a trace: files and sockets are the real master's.
int resume(int state_fd, bool is_probe) {
    log::start({});
    set_dispositions_to_default();
    auto state = read_state(state_fd);
    ::close(state_fd);
    seal_descriptors();
    if (!state) return refuse_resume(state.error(), is_probe);
    for (const int fd : unknown_descriptors(*state)) ::close(fd);
    if (is_probe) log::set_level(log::Level::off);
    auto master = take_over(*state);
    if (!master) return refuse_resume(master.error(), is_probe);
    if (is_probe) ::_exit(kExitFine);
    (*master)->follow_log((*master)->config().log);
    (*master)->go_on(*state);
    return (*master)->serve();
}

}  // namespace tcpd::master
