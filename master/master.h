#pragma once

// The master: one process for ever. Binds, has images executed, supervises, answers `-s`, drains and stops;
// no client's byte passes through it. Owns the loop, the pid file and its control socket, the listening
// sockets and the slots. If it dies, its slots serve what is queued, stop listening, serve what they have and
// end; a new master can bind at once.
//
//   signal              what the master does
//   TERM, QUIT          drains, then exits with 0; a second one stops at once
//   INT                 stops at once
//   USR1                opens the log anew, for itself and every slot
//   HUP                 reloads the configuration; what is wrong with it leaves the old one in force
//   USR2                executes the program now at the path that it was started by, slots first, then itself
//   WINCH               drains, but stays: nothing is accepted until HUP
//   TTIN, TTOU          one worker more, one fewer; like WINCH only without a controlling terminal
//   TSTP, CONT          as ever; a master that stood still gives every worker a new watchdog interval
//
// Source: tcpd(8).

#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "conf/source.h"
#include "daemon/base/log.h"

namespace tcpd::master {

struct Options {
    conf::Config config;
    conf::Snapshot snapshot;  // the files that config was read from
    std::string config_path;
    int notify_fd = -1;
    std::string program_path;  // absolute, as started
    std::optional<log::Level> log_level;
    std::vector<std::string> warnings;  // about config; for the log
};

// Returns the exit code.
int run(Options options);
// The same process goes on with this program: what `--resume FD` asks for. `is_probe`: a child that only
// tries.
int resume(int state_fd, bool is_probe);

}  // namespace tcpd::master
