#include "worker/sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "daemon/base/process.h"
#include "daemon/base/unique_fd.h"
#include "worker/call_filter.h"

namespace tcpd::worker {

namespace {

// As in kernels newer than the headers that this is built with; what a kernel does not know is zero and
// accepted.
struct LandlockRuleset {
    uint64_t handled_access_fs, handled_access_net, scoped;
};
struct LandlockPathBeneath {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));
constexpr int kLandlockPathBeneath = 1;
// What a dump does: it makes a new file, after it has removed the old one.
constexpr uint64_t kCoreFileRights =
    LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
// Abstract unix sockets and signals: to other processes than worker and standby.
constexpr uint64_t kScopes = 3;
// Rights over files that each ABI knows: 13 at first, then refer, truncate, ioctl on devices, and to find unix sockets.
constexpr unsigned kFileRights[] = {0, 13, 14, 15, 15, 16, 16, 16, 16, 17};
constexpr uint64_t kFindUnixSockets = uint64_t{1} << 16;

// Empty: no core file is wanted, or none could be made anyway, or only where the master's own files lie.
std::string wanted_core_directory(const SandboxNeeds& needs) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur == 0) return {};
    std::string pattern;
    std::getline(std::ifstream("/proc/sys/kernel/core_pattern"), pattern);
    std::string directory = core_directory(pattern);
    std::error_code unknown;
    if (directory == ".") directory = std::filesystem::current_path(unknown);
    if (!needs.pid_file.empty() &&
        std::filesystem::equivalent(directory, std::filesystem::path(needs.pid_file).parent_path(), unknown))
        return {};
    return ::access(directory.c_str(), W_OK) == 0 ? directory : std::string();
}

bool let_write_below(int ruleset, const std::string& directory) {
    const UniqueFd parent(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const LandlockPathBeneath rule{kCoreFileRights, parent.get()};
    return ::syscall(SYS_landlock_add_rule, ruleset, kLandlockPathBeneath, &rule, 0U) == 0;
}

std::string enter_landlock(const SandboxNeeds& needs) {
    // 1: LANDLOCK_CREATE_RULESET_VERSION
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U);
    if (abi < 1) return fmt::format("no landlock ({})", std::strerror(abi < 0 ? errno : ENOSYS));
    LandlockRuleset ruleset{};
    const size_t known = std::min<size_t>(static_cast<size_t>(abi), std::size(kFileRights) - 1);
    ruleset.handled_access_fs = (uint64_t{1} << kFileRights[known]) - 1;
    if (needs.dials_unix) ruleset.handled_access_fs &= ~kFindUnixSockets;
    if (abi >= 6) ruleset.scoped = kScopes;
    const UniqueFd fd(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &ruleset, sizeof ruleset, 0U)));
    const std::string cores = fd ? wanted_core_directory(needs) : std::string();
    const bool has_cores = !cores.empty() && let_write_below(fd.get(), cores);
    if (!fd || ::syscall(SYS_landlock_restrict_self, fd.get(), 0U) != 0)
        return fmt::format("no landlock ({})", std::strerror(errno));
    if (!has_cores) return fmt::format("landlock (ABI {})", abi);
    return fmt::format("landlock (ABI {}; core files may be made below \"{}\")", abi, cores);
}

// Without SPEC_ALLOW, kernels before 5.16 switch the processor's speculation off for a process with a filter.
std::string enter_seccomp(const SandboxNeeds& needs) {
    auto code = make_call_filter({.master = ::getppid(), .dials_unix = needs.dials_unix});
    sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    long failed = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
    if (failed != 0) failed = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    if (failed != 0) return fmt::format("no seccomp ({})", std::strerror(errno));
    return fmt::format("seccomp ({} calls denied)", denied_calls());
}

}  // namespace

std::string core_directory(std::string_view pattern) {
    if (pattern.empty() || pattern.front() == '|' || pattern.front() == '@') return {};
    const std::string_view fixed = pattern.substr(0, pattern.find('%'));
    const size_t slash = fixed.rfind('/');
    if (slash == std::string_view::npos) return ".";
    return std::string(slash == 0 ? "/" : fixed.substr(0, slash));
}

std::string enter_sandbox(const SandboxNeeds& needs) {
    const auto dropped = drop_capabilities();
    const std::string capabilities = dropped ? "no capabilities" : dropped.error().text();
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fmt::format("none (new privileges can't be given up: {}), {}", std::strerror(errno),
                           capabilities);
    const std::string landlock = enter_landlock(needs);
    return fmt::format("{}, {}, {}", landlock, enter_seccomp(needs), capabilities);
}

}  // namespace tcpd::worker
