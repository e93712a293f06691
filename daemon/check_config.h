#pragma once

// The configuration as a person meets it at start, at -t and -T: read, checked, and all that is wrong printed
// on stderr. Needs no privilege and binds nothing. Runs in the process that was started from a shell or a
// service manager. Source: tcpd.yaml(5).

#include <optional>
#include <string>
#include <vector>

#include "conf/load.h"
#include "conf/source.h"
#include "daemon/command_line.h"

namespace tcpd {

struct CheckedConfig {
    conf::Config config;
    conf::Snapshot snapshot;  // of the files it was read from
    std::vector<std::string> warnings;
};

// Prints the problems, one a line; nothing is returned if there is one. Warnings are then the caller's to
// tell.
std::optional<CheckedConfig> read_config(const Command& command);

// -t and -T; returns the exit code.
int check_config(const Command& command);
int dump_config(const Command& command);

}  // namespace tcpd
