#pragma once

// A hex dump as tools print it, and the bytes that it stands for: for `tcpd --decode`, whose input people paste
// from a capture, a log or a debugger. Pure; runs in the process that the person started.
//
// With offsets (xxd, hexdump with and without -C, od -t x1, tcpdump -x and -X, Wireshark's): the offsets have to
// grow by the bytes of their lines, by which their base, the text column and the lines left out as "*" are known.
// Without: pairs, groups, 0x78, \x78, 78:78, 78-78, <Buffer 78 78>, [120, 120], b'xx\r' and the like.
// Source: xxd(1), hexdump(1), od(1), tcpdump(8), Wireshark's "Follow Stream" and "Copy".

#include <string>
#include <string_view>

namespace tcpd {

struct HexDump {
    enum class Is { none, maybe, certain };
    Is is = Is::none;     // maybe: hexadecimal digits, which text may consist of, too
    std::string bytes;    // empty if `is` is none
    std::string problem;  // none: what in it could not be read, where it looks like a dump; else empty
};

HexDump read_hex_dump(std::string_view text);

}  // namespace tcpd
