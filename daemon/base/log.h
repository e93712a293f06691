#pragma once

// The log of this process: spdlog behind a few functions, so that no other header pulls it in. Runs in every
// process; a worker's lines pass through slot memory (LineBuffer), so that those not yet written outlive it.
// A line: `2026-11-24T12:00:00.123Z info 4711/worker 0 message key=value`; json: the same as one object a
// line. Owns no descriptor: it writes to the number it is given, which log reopening replaces underneath
// (dup3). A full disk drops lines, counts them and says so once it can; it never blocks for good and never
// ends a process.

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/log/line_limit.h"

namespace tcpd::log {

enum class Level : uint8_t { trace, debug, info, warn, error, critical, off };
inline constexpr std::array<std::string_view, 7> kLevelNames = {"trace", "debug",    "info", "warn",
                                                                "error", "critical", "off"};
enum class Format : uint8_t { text, json };

// Where lines wait before one write takes many. Implemented over slot memory by the worker; without one, each
// line is written at once.
class LineBuffer {
public:
    virtual ~LineBuffer() = default;
    // Room for `bytes` contiguous bytes, or nullptr; then `commit` what was used.
    virtual char* reserve(size_t bytes) = 0;
    virtual void commit(size_t bytes) = 0;
    // Hands all that waits to write_lines. Called by the log only, never by two threads at once.
    virtual void flush() = 0;
};

struct Setup {
    Level level = Level::info;
    Format format = Format::text;
    int fd = 2;
    std::string_view who = "master";  // "master", "worker 0"
};

void start(const Setup& setup);
void set_who(std::string_view who);  // the pid is read anew as well
void set_level(Level level);
void set_buffer(LineBuffer* buffer);  // nullptr: none. Lines of warn and above flush it at once
bool enabled(Level level);
Level level_from(std::string_view name, bool* known);
std::string_view name_of(Level level);
std::string_view name_of(Format format);

// At most one line of a kind in 5 s; the next says how many were left out.
void write(Level level, fmt::string_view format, fmt::format_args args);
void write_text(Level level, std::string_view message);  // formatted already; ask `enabled` before
void write_limited(Level level, const LineKind& kind, fmt::string_view format, fmt::format_args args);
uint64_t dropped_lines();
// Has the LineBuffer flushed: before a loop goes to sleep, and for what a predecessor left in it.
void flush();
// For LineBuffer::flush alone: whole lines go to the descriptor, or are dropped and counted.
void write_lines(std::string_view lines);

template <typename... Args>
void debug(fmt::format_string<Args...> f, Args&&... args) {
    if (enabled(Level::debug)) write(Level::debug, f, fmt::make_format_args(args...));
}
template <typename... Args>
void info(fmt::format_string<Args...> f, Args&&... args) {
    if (enabled(Level::info)) write(Level::info, f, fmt::make_format_args(args...));
}
template <typename... Args>
void warn(fmt::format_string<Args...> f, Args&&... args) {
    if (enabled(Level::warn)) write(Level::warn, f, fmt::make_format_args(args...));
}
template <typename... Args>
void error(fmt::format_string<Args...> f, Args&&... args) {
    if (enabled(Level::error)) write(Level::error, f, fmt::make_format_args(args...));
}
template <typename... Args>
void limited(Level level, const LineKind& kind, fmt::format_string<Args...> f, Args&&... args) {
    if (enabled(level)) write_limited(level, kind, f, fmt::make_format_args(args...));
}

}  // namespace tcpd::log
