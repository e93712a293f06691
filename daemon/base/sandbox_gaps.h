#pragma once

// What the workers' sandbox can't keep from them on this kernel, said once at the start by the master: where Landlock,
// its scopes or seccomp are missing. Every process; owns nothing. Source: landlock(7), seccomp(2).

#include <string>

namespace tcpd {

struct KernelBorders {
    bool has_call_filters = true;
    long landlock_abi = 0;  // below 1: none
    std::string release;    // of the kernel
};

KernelBorders look_at_kernel();
// One line; empty: nothing is missing. `own_user`: the workers' user is not the master's. Pure.
std::string describe_gaps(const KernelBorders& kernel, bool own_user);

}  // namespace tcpd
