#pragma once

// The master's exec in place: the same process, and so the same PID and children, with another program. What
// it knows goes over in a memfd, descriptors stay open at their numbers; every signal is blocked over it, and
// the new program unblocks them once it has set all dispositions and reaped. Before that a child has done the
// whole start-up from a copy (trial.h). If the exec fails, all is as it was. Source: execve(2) "Effect on
// signals".

#include <string>

#include "conf/config.h"
#include "daemon/base/error.h"
#include "master/reexec/state.h"

namespace tcpd::master {

inline constexpr const char* kResumeFlag = "--resume";
inline constexpr const char* kProbeFlag = "--resume-probe";

// In a memfd.
Result<UniqueFd> write_state(const MasterState& state);
// Returns only if it could not be done.
Error execute_in_place(int program, const MasterState& state);
// What execute_in_place left.
Result<MasterState> read_state(int fd);
// Of a generation in it, by the descriptor of its bundle.
Result<conf::Config> read_config(int bundle_fd);

}  // namespace tcpd::master
