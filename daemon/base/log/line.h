#pragma once

// How a line of the log looks, as text and as json. Every process; pure: the time is passed in.
//     2026-11-24T12:00:00.123Z info 4711/worker 0 message
//     {"time":"2026-11-24T12:00:00.123Z","level":"info","pid":4711,"who":"worker 0","message":"message"}
// One line whatever the message holds: control characters and malformed UTF-8 are escaped, and what is longer
// than kMostMessageBytes is cut. Source: RFC 8259 section 7, RFC 3339.

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/log.h"

namespace tcpd::log {

inline constexpr size_t kMostMessageBytes = 8192;

using Text = fmt::basic_memory_buffer<char, 512>;

class LineShape {
public:
    void set_format(Format format) { format_ = format; }
    void set_identity(int pid, std::string_view who);
    // Appends the line and its newline. Makes no allocation unless `to` has to grow.
    void append(Text& to, uint64_t wall_nanoseconds, Level level, std::string_view message);

private:
    void append_time(Text& to, uint64_t wall_nanoseconds);
    void remember_second(uint64_t second);

    Format format_ = Format::text;
    std::string text_identity_;  // " 4711/worker 0 "
    std::string json_identity_;  // `","pid":4711,"who":"worker 0","message":"`
    uint64_t second_ = ~uint64_t{0};
    char stamp_[20] = {};  // "2026-11-24T12:00:00."
};

}  // namespace tcpd::log
