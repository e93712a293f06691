#include "daemon/base/log/line.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "daemon/base/text.h"

namespace tcpd::log {

namespace {

void append(Text& to, std::string_view text) { to.append(text.data(), text.data() + text.size()); }

bool needs_care(char byte, Format format) {
    auto value = static_cast<unsigned char>(byte);
    if (value < 0x20 || value >= 0x7F) return true;
    return format == Format::json && (byte == '"' || byte == '\\');
}

// How many bytes of `text` need no care, in steps of eight: it may stop short.
size_t plain_words(std::string_view text, Format format) {
    constexpr uint64_t kOnes = 0x0101010101010101, kHighs = 0x8080808080808080;
    auto has = [](uint64_t word, uint64_t byte) {
        const uint64_t zero_where_equal = word ^ kOnes * byte;
        return (zero_where_equal - kOnes) & ~zero_where_equal & kHighs;
    };
    size_t plain = 0;
    for (uint64_t word; plain + sizeof word <= text.size(); plain += sizeof word) {
        std::memcpy(&word, text.data() + plain, sizeof word);
        uint64_t careful = (word - kOnes * 0x20) | word | has(word, 0x7F);  // below 0x20, from 0x80 on, 0x7F
        if (format == Format::json) careful |= has(word, '"') | has(word, '\\');
        if ((careful & kHighs) != 0) break;
    }
    return plain;
}

void append_escaped_byte(Text& to, unsigned char byte, Format format) {
    switch (byte) {
        case '\n': return append(to, "\\n");
        case '\r': return append(to, "\\r");
        case '\t': return append(to, "\\t");
        case '"': return append(to, "\\\"");
        case '\\': return append(to, "\\\\");
        default: break;
    }
    if (format == Format::text) {
        fmt::format_to(std::back_inserter(to), "\\x{:02x}", byte);
    } else if (byte < 0x80) {
        fmt::format_to(std::back_inserter(to), "\\u{:04x}", byte);
    } else {
        append(to, "\\ufffd");  // json has no bytes, only characters
    }
}

// Runs of plain characters are copied at once: nearly all messages are one run.
void append_escaped(Text& to, std::string_view text, Format format) {
    while (!text.empty()) {
        size_t plain = plain_words(text, format);
        while (plain < text.size() && !needs_care(text[plain], format)) ++plain;
        append(to, text.substr(0, plain));
        text.remove_prefix(plain);
        if (text.empty()) return;
        size_t character = utf8_character(text);
        if (character > 1) {
            append(to, text.substr(0, character));
        } else {
            append_escaped_byte(to, static_cast<unsigned char>(text[0]), format);
        }
        text.remove_prefix(std::max<size_t>(character, 1));
    }
}

std::string_view cut(std::string_view message) {
    if (message.size() <= kMostMessageBytes) return message;
    size_t end = kMostMessageBytes;
    while (end > kMostMessageBytes - 4 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
    return message.substr(0, end);
}

void append_message(Text& to, std::string_view message, Format format) {
    std::string_view kept = cut(message);
    append_escaped(to, kept, format);
    if (kept.size() < message.size()) {
        fmt::format_to(std::back_inserter(to), "... ({} bytes more)", message.size() - kept.size());
    }
}

}  // namespace

void LineShape::set_identity(int pid, std::string_view who) {
    Text escaped;
    append_escaped(escaped, who, Format::json);
    text_identity_ = fmt::format(" {}/{} ", pid, who);
    json_identity_ = fmt::format(R"(","pid":{},"who":"{}","message":")", pid, fmt::to_string(escaped));
}

void LineShape::append(Text& to, uint64_t wall_nanoseconds, Level level, std::string_view message) {
    bool json = format_ == Format::json;
    if (json) log::append(to, R"({"time":")");
    append_time(to, wall_nanoseconds);
    log::append(to, json ? R"(","level":")" : " ");
    log::append(to, name_of(level));
    log::append(to, json ? json_identity_ : text_identity_);
    append_message(to, message, format_);
    log::append(to, json ? "\"}\n" : "\n");
}

void LineShape::append_time(Text& to, uint64_t wall_nanoseconds) {
    uint64_t second = wall_nanoseconds / 1'000'000'000;
    if (second != second_) remember_second(second);
    auto millisecond = static_cast<unsigned>(wall_nanoseconds / 1'000'000 % 1'000);
    const char tail[] = {static_cast<char>('0' + millisecond / 100),
                         static_cast<char>('0' + millisecond / 10 % 10),
                         static_cast<char>('0' + millisecond % 10), 'Z'};
    log::append(to, {stamp_, sizeof stamp_});
    log::append(to, {tail, sizeof tail});
}

// By arithmetic: gmtime_r would look for the time zone's file, which a sandbox has not.
void LineShape::remember_second(uint64_t second) {
    std::chrono::sys_seconds time{std::chrono::seconds(second)};
    auto day = std::chrono::floor<std::chrono::days>(time);
    std::chrono::year_month_day date{day};
    std::chrono::hh_mm_ss clock{time - day};
    fmt::format_to_n(stamp_, sizeof stamp_, "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.",
                     static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(),
                     clock.seconds().count());
    second_ = second;
}

}  // namespace tcpd::log
