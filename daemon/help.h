#pragma once

// What `tcpd -h` and `tcpd -V` print. Pure; runs in the process that a person started.
// Source: tcpd(8).

#include <string>

namespace tcpd {

// No line is longer than 80 columns.
std::string help_text();
// Version, compiler, libraries as they run now, and what this build has compiled in.
std::string version_text();

}  // namespace tcpd
