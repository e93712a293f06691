#pragma once

// A hex dump whose lines begin with their offset, as xxd, hexdump, od, tcpdump and Wireshark print it. Part of
// hex_dump; pure.

#include <string>
#include <string_view>

namespace tcpd {

struct DumpLines {
    std::string bytes;    // empty: it is none
    std::string problem;  // it begins like one, and this is wrong with it; else empty
};

DumpLines read_dump_lines(std::string_view text);

}  // namespace tcpd
