#pragma once

// `tcpd -s VERB`: finds the master by its pid file, asks it over PID_FILE.ctl and waits for the outcome of
// this request. Runs in the process that a person started. The pid file's content is never believed: who
// holds its lock is the master, the kernel names it, and the socket must be of the same process; so no other
// process is ever asked. If the master dies meanwhile, the socket ends, which is reported as such. Source:
// fcntl(2) "Advisory record locking", unix(7) "SO_PEERCRED", pidfd_open(2).

#include <cstdio>
#include <string>

#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/command_line.h"

namespace tcpd {

// What the master answers goes to `out` as it comes. After "stop" the master is gone when this returns.
// `limit`: for all of it; 0: none. unavailable: there is none, or it ended without an answer; refused: it said
// no, and why; bad_config: because its configuration has mistakes; timed_out: the limit is over, what was asked
// goes on.
Result<void> ask_master(const std::string& pid_file, const std::string& verb, Duration limit, FILE* out);

// Without --timeout. `drain_stop`: drain.stop of the configuration, which a drain and a stop may take.
Duration usual_limit(const std::string& verb, Duration drain_stop);

// The whole of -s: reads the configuration for its pid_file, prints the outcome, returns the exit code.
int make_request(const Command& command);

}  // namespace tcpd
