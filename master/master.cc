#include "master/master.h"

#include <ev.h>

#include <cerrno>

#include "daemon/base/process.h"
#include "master/master_process.h"

namespace tcpd::master {

namespace {

Result<UniqueFd> start_log(const Options& options) {
    auto fd = open_log(options.config.log.output);
    if (!fd) return fd;
    log::start({.level = options.log_level.value_or(options.config.log.level),
                .format = options.config.log.format,
                .fd = fd->get(),
                .who = "master"});
    return fd;
}

int refuse(const Error& error) {
    log::error("{}", error.text());
    return kExitSystem;
}

}  // namespace

int run(Options options) {
    const uint64_t begun_ns = monotonic_ns();
    log::start({});
    reset_signals();
    if (auto settled = settle_standard_descriptors(); !settled) return refuse(settled.error());
    seal_descriptors();
    auto log_fd = start_log(options);
    if (!log_fd) return refuse(log_fd.error());
    Loop loop(ev_loop_new(unsigned{EVBACKEND_EPOLL} | unsigned{EVFLAG_NOENV}));
    if (!loop) return refuse(system_error(errno, "make an event loop"));
    const conf::Log log_settings = options.config.log;
    MasterProcess master(std::move(options), std::move(loop), std::move(*log_fd), begun_ns);
    auto started = master.start();
    if (started) return master.serve();
    say_failure(started.error().text(), log_settings);
    return kExitSystem;
}

}  // namespace tcpd::master
