#include "daemon/base/sandbox_gaps.h"

#include <fmt/format.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdint>

namespace tcpd {

namespace {

constexpr long kFirstAbiWithScopes = 6;

const char* what_they_can(const KernelBorders& kernel) {
    if (!kernel.has_call_filters)
        return kernel.landlock_abi < 1
                   ? "can do all that their user may: open its files, end its processes, order tcpd about"
                   : "can order about and signal what their user may";
    return "can signal other processes of their user, but not their own master; files are kept from them";
}

std::string what_is_missing(const KernelBorders& kernel) {
    std::string missing;
    if (kernel.landlock_abi < 1) {
        missing = "no landlock";
    } else if (kernel.landlock_abi < kFirstAbiWithScopes) {
        missing = fmt::format("landlock without scopes for signals (ABI {})", kernel.landlock_abi);
    }
    if (!kernel.has_call_filters) missing += missing.empty() ? "no seccomp" : " and no seccomp";
    return missing;
}

}  // namespace

KernelBorders look_at_kernel() {
    KernelBorders kernel;
    const uint32_t action = SECCOMP_RET_ERRNO;
    kernel.has_call_filters = ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0U, &action) == 0;
    // 1: LANDLOCK_CREATE_RULESET_VERSION
    kernel.landlock_abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U);
    utsname name{};
    if (::uname(&name) == 0) kernel.release = name.release;
    return kernel;
}

std::string describe_gaps(const KernelBorders& kernel, bool own_user) {
    const std::string missing = what_is_missing(kernel);
    if (missing.empty()) return {};
    std::string line =
        fmt::format("sandbox: {} (kernel {}): workers {}", missing, kernel.release, what_they_can(kernel));
    if (!own_user)
        line += " (run the master as root with user: NAME, so that their user is not the master's)";
    return line;
}

}  // namespace tcpd
