#pragma once

// Is what now lies at the program's path fit to take over? Opened once, so that what was checked is what runs
// later. Master only, while it serves: each question has its time limit and is asked of a child of its own.
// If the master dies in here, the child ends by itself. Source: execveat(2), ld.so(8).

#include <string>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::master {

// The line of `tcpd -V` that says what a program can read of another.
std::string formats_line();

// The program's descriptor; an Error says what it could not do, in its own words where it had any.
Result<UniqueFd> check_program(const std::string& path, const std::string& config_path);

// What a child with these arguments (after argv[0]) wrote, if it ended with 0 within five seconds. `doing`
// names the question in errors; the child has the descriptors `kept` as well.
Result<std::string> ask_program(int program, const std::string& doing, std::vector<std::string> arguments,
                                const std::vector<int>& kept);

}  // namespace tcpd::master
