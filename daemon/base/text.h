#pragma once

// Text that people write and read: durations, sizes, counts, the nearest known word. Pure; runs in every
// process. Source: the config grammar (tcpd.yaml(5), "units").

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/clock.h"

namespace tcpd {

// "500ms", "30s", "2m", "1h", "0". Without a unit, negative, fractional or over 10 years: nothing.
std::optional<Duration> parse_duration(std::string_view text);
// "512B", "64KiB", "1MiB", "2GiB", "0". "64KB" and overflow: nothing.
std::optional<uint64_t> parse_size(std::string_view text);
// Decimal or 0x; "010", signs and anything else: nothing.
std::optional<uint64_t> parse_number(std::string_view text);

// "7E7e", two digits a byte, spaces between bytes allowed; anything else: nothing.
std::optional<std::string> parse_hex(std::string_view text);
// "7E7E".
std::string format_hex(std::string_view bytes);

// The shortest exact form that the parsers above read back: 90000 ms is "90s", 65536 is "64KiB".
std::string format_duration(Duration duration);
std::string format_size(uint64_t bytes);
// For logs: "3.2ms", "41s", "2h5m".
std::string format_elapsed(uint64_t nanoseconds);

// The candidate nearest to `word` by edit distance, if it is near enough to be a slip (at most 2, or a third
// of it).
std::optional<std::string_view> nearest(std::string_view word,
                                        const std::vector<std::string_view>& candidates);

// What stands between any of `separators`, empty words left out.
std::vector<std::string_view> split_words(std::string_view text, std::string_view separators);

// Length of the UTF-8 character that `text` begins with; 0: none, or one that is malformed, overlong or a
// surrogate.
size_t utf8_character(std::string_view text);

// "reload, stop": `words`, with `between` between them.
template <typename Words>
std::string joined(const Words& words, std::string_view between) {
    std::string text;
    for (const auto& word : words) {
        if (!text.empty()) text += between;
        text += word;
    }
    return text;
}

// `text` with control characters, quotes and backslashes escaped and malformed UTF-8 as \xNN, in double
// quotes; what would be over `limit` bytes between them is cut, and "..." says so.
std::string quoted(std::string_view text, size_t limit = 200);

}  // namespace tcpd
