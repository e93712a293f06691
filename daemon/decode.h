#pragma once

// `tcpd --decode FRAMING`: the bytes on standard input, or a hex dump of them, as frames, or where and why
// they do not fit. Where a length does not fit, it tries what else the length could count. A process of its
// own that ends with it. Source: tcpd(8).

#include <string>
#include <string_view>

#include "conf/config.h"
#include "daemon/command_line.h"

namespace tcpd {

// Prints to standard output; an exit code.
int decode(const Command& command);

struct Decoded {
    std::string text;  // lines
    bool is_whole = false;
};
Decoded decode_frames(const conf::Framing& framing, std::string_view bytes);

}  // namespace tcpd
