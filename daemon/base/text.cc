#include "daemon/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace tcpd {

namespace {

struct Unit {
    std::string_view name;
    uint64_t factor;
};

// Largest first: the formatters take the first that divides.
constexpr Unit kDurationUnits[] = {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};
constexpr Unit kSizeUnits[] = {{"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"B", 1}};
constexpr uint64_t kMostMilliseconds = 10ULL * 365 * 24 * 3'600'000;

std::optional<uint64_t> parse_digits(std::string_view text, int base) {
    uint64_t value = 0;
    const char* end = text.data() + text.size();
    auto [stopped, problem] = std::from_chars(text.data(), end, value, base);
    if (text.empty() || problem != std::errc() || stopped != end) return std::nullopt;
    return value;
}

std::optional<uint64_t> parse_decimal(std::string_view text) {
    if (text.size() > 1 && text[0] == '0') return std::nullopt;
    return parse_digits(text, 10);
}

template <size_t N>
std::optional<uint64_t> parse_with_unit(std::string_view text, const Unit (&units)[N]) {
    if (text == "0") return 0;
    size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    std::optional<uint64_t> number = parse_decimal(text.substr(0, digits));
    if (!number) return std::nullopt;
    for (const Unit& unit : units) {
        uint64_t product = 0;
        if (text.substr(digits) != unit.name) continue;
        if (__builtin_mul_overflow(*number, unit.factor, &product)) return std::nullopt;
        return product;
    }
    return std::nullopt;
}

template <size_t N>
std::string format_with_unit(uint64_t value, const Unit (&units)[N]) {
    if (value == 0) return "0";
    const Unit* unit = std::find_if(std::begin(units), std::end(units),
                                    [value](const Unit& candidate) { return value % candidate.factor == 0; });
    return fmt::format("{}{}", value / unit->factor, unit->name);
}

// "4.1s" under ten of the unit, "41s" above; tenths are cut, not rounded, so that 9.99 never reads 10.0.
std::string format_tenths(uint64_t tenths, std::string_view unit) {
    if (tenths >= 100 || tenths % 10 == 0) return fmt::format("{}{}", tenths / 10, unit);
    return fmt::format("{}.{}{}", tenths / 10, tenths % 10, unit);
}

std::string format_two(uint64_t major, std::string_view major_unit, uint64_t minor,
                       std::string_view minor_unit) {
    if (minor == 0) return fmt::format("{}{}", major, major_unit);
    return fmt::format("{}{}{}{}", major, major_unit, minor, minor_unit);
}

// Edits are insert, delete, replace and the swap of two neighbours.
size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
        }
        before.swap(above);
        above.swap(row);
    }
    return above[b.size()];
}

bool is_plain(std::string_view character) {
    auto first = static_cast<unsigned char>(character[0]);
    if (character.size() == 1) return first >= 0x20 && first < 0x7F;
    bool c1_control = first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
    return !c1_control;
}

std::string escaped_byte(char byte) {
    switch (byte) {
        case '\n': return "\\n";
        case '\r': return "\\r";
        case '\t': return "\\t";
        default: return fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
}

// One character, or one byte that is none, as it stands between quotes; `text` loses it.
std::string take_escaped(std::string_view& text) {
    size_t length = utf8_character(text);
    std::string_view character = text.substr(0, std::max<size_t>(length, 1));
    text.remove_prefix(character.size());
    if (character == "\"" || character == "\\") return "\\" + std::string(character);
    if (length > 0 && is_plain(character)) return std::string(character);
    std::string escaped;
    for (char byte : character) escaped += escaped_byte(byte);
    return escaped;
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
    std::optional<uint64_t> milliseconds = parse_with_unit(text, kDurationUnits);
    if (!milliseconds || *milliseconds > kMostMilliseconds) return std::nullopt;
    return Duration(static_cast<Duration::rep>(*milliseconds));
}

std::optional<uint64_t> parse_size(std::string_view text) { return parse_with_unit(text, kSizeUnits); }

std::optional<uint64_t> parse_number(std::string_view text) {
    if (text.starts_with("0x")) return parse_digits(text.substr(2), 16);
    return parse_decimal(text);
}

std::optional<std::string> parse_hex(std::string_view text) {
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
        return -1;
    };
    std::string bytes;
    for (size_t at = 0; at < text.size();) {
        if (text[at] == ' ') {
            ++at;
            continue;
        }
        if (at + 1 == text.size() || digit(text[at]) < 0 || digit(text[at + 1]) < 0) return {};
        bytes += static_cast<char>(digit(text[at]) * 16 + digit(text[at + 1]));
        at += 2;
    }
    return bytes;
}

std::string format_hex(std::string_view bytes) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string text;
    for (const unsigned char c : bytes) {
        text += kDigits[c >> 4];
        text += kDigits[c & 15];
    }
    return text;
}

std::string format_duration(Duration duration) {
    return format_with_unit(static_cast<uint64_t>(duration.count()), kDurationUnits);
}

std::string format_size(uint64_t bytes) { return format_with_unit(bytes, kSizeUnits); }

std::string format_elapsed(uint64_t nanoseconds) {
    uint64_t microseconds = nanoseconds / 1'000;
    uint64_t seconds = microseconds / 1'000'000;
    if (microseconds < 1'000) return fmt::format("{}us", microseconds);
    if (seconds < 1) return format_tenths(microseconds / 100, "ms");
    if (seconds < 60) return format_tenths(microseconds / 100'000, "s");
    if (seconds < 3'600) return format_two(seconds / 60, "m", seconds % 60, "s");
    if (seconds < 86'400) return format_two(seconds / 3'600, "h", seconds / 60 % 60, "m");
    return format_two(seconds / 86'400, "d", seconds / 3'600 % 24, "h");
}

std::optional<std::string_view> nearest(std::string_view word,
                                        const std::vector<std::string_view>& candidates) {
    // Fewer edits than letters: something of what was written must be left, or any short word would do.
    size_t limit = std::max<size_t>(2, word.size() / 3);
    if (limit >= word.size()) limit = word.empty() ? 0 : word.size() - 1;
    std::optional<std::string_view> best;
    for (std::string_view candidate : candidates) {
        size_t difference = std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size());
        if (difference > limit) continue;
        size_t distance = edit_distance(word, candidate);
        if (distance > limit || (best && distance == limit)) continue;
        best = candidate;
        limit = distance;
    }
    return best;
}

std::vector<std::string_view> split_words(std::string_view text, std::string_view separators) {
    std::vector<std::string_view> words;
    for (;;) {
        const size_t begin = text.find_first_not_of(separators);
        if (begin == text.npos) return words;
        text.remove_prefix(begin);
        const size_t end = std::min(text.find_first_of(separators), text.size());
        words.push_back(text.substr(0, end));
        text.remove_prefix(end);
    }
}

size_t utf8_character(std::string_view text) {
    if (text.empty()) return 0;
    auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
    if (byte(0) < 0x80) return 1;
    size_t length = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
    if (byte(0) < 0xC2 || byte(0) > 0xF4 || text.size() < length) return 0;
    for (size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return 0;
    }
    bool overlong = (byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xF0 && byte(1) < 0x90);
    bool surrogate = byte(0) == 0xED && byte(1) > 0x9F;
    bool too_large = byte(0) == 0xF4 && byte(1) > 0x8F;
    return overlong || surrogate || too_large ? 0 : length;
}

std::string quoted(std::string_view text, size_t limit) {
    constexpr std::string_view kCut = "...";
    std::string out = "\"";
    size_t safe = out.size();  // so much may stay if it has to be cut
    while (!text.empty()) {
        out += take_escaped(text);
        if (out.size() - 1 + kCut.size() <= limit) safe = out.size();
        if (out.size() - 1 > limit) {
            out.resize(safe);
            out += kCut.substr(0, limit);
            break;
        }
    }
    return out + '"';
}

}  // namespace tcpd
