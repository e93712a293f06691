#include "master/start_up.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/log.h"
#include "daemon/base/owned_folder.h"
#include "daemon/base/process.h"
#include "daemon/base/signals.h"
#include "daemon/slot/control_message.h"
#include "daemon/slot/layout.h"

namespace tcpd::master {

namespace {

constexpr mode_t kLogMode = 0640;
constexpr const char* kRaiseLimit = "raise the limit of open files: ulimit -n, LimitNOFILE= of the unit";

}  // namespace

void set_dispositions_to_default() {
    default_all_signals();
    ::signal(SIGPIPE, SIG_IGN);
}

void reset_signals() {
    set_dispositions_to_default();
    unblock_all_signals();
}

void seal_descriptors() { ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); }

Result<UniqueFd> open_log(const std::string& output) {
    if (output != "stderr") return open_to_append(output, kLogMode);
    UniqueFd fd(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
    if (!fd) return system_error(errno, "open the log", output);
    return fd;
}

void start_log(const conf::Log& settings, std::optional<log::Level> level, int fd) {
    log::start(
        {.level = level.value_or(settings.level), .format = settings.format, .fd = fd, .who = "master"});
}

void say_failure(const std::string& text, const conf::Log& settings) {
    log::error("{}", text);
    if (settings.output != "stderr") fmt::print(stderr, "tcpd: {}\n", text);
}

Result<void> check_user(const std::string& user) {
    const bool root = ::geteuid() == 0;
    if (user.empty()) {
        if (!root && !has_capability(CAP_NET_BIND_SERVICE)) {
            log::info("not started as root: ports below 1024 and user do not work, all else does");
        }
        return {};
    }
    auto wanted = find_user(user);
    if (!wanted) return std::move(wanted.error());
    if (root || wanted->uid == ::geteuid()) return {};
    return Error{ErrorCode::no_permission,
                 "run workers as user",
                 user,
                 0,
                 "only root can",
                 "start tcpd as root, or remove user from the config"};
}

DescriptorBudget make_budget(uint64_t limit, uint64_t addresses) {
    DescriptorBudget budget;
    budget.limit = limit;
    budget.set_aside = std::min(limit, slot::kFirstListenFd + addresses + slot::kReservedDescriptors);
    budget.connections = limit - budget.set_aside;
    return budget;
}

Result<void> check_own_descriptors(const conf::Config& config, uint64_t limit) {
    if (config.master_descriptors() <= limit) return {};
    return Error{
        ErrorCode::exhausted,
        "listen",
        "",
        0,
        fmt::format("the master may have {} descriptors, and needs {}, {} of them for listening sockets, one "
                    "for each address and worker",
                    limit, config.master_descriptors(), config.listening_sockets()),
        kRaiseLimit};
}

Error no_descriptors(const DescriptorBudget& budget, uint64_t addresses) {
    return Error{
        ErrorCode::exhausted,
        "serve connections",
        "",
        0,
        fmt::format("each worker may have {} descriptors, and needs {} beside those of connections, for {} "
                    "listening socket{} among others",
                    budget.limit, slot::kFirstListenFd + addresses + slot::kReservedDescriptors, addresses,
                    addresses == 1 ? "" : "s"),
        kRaiseLimit};
}

}  // namespace tcpd::master
