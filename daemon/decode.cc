#include "daemon/decode.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "daemon/base/text.h"
#include "daemon/check_config.h"
#include "worker/protocol/framing.h"
#include "worker/protocol/guess.h"

namespace tcpd {

using worker::FrameFault;
using worker::FrameProgress;
using worker::FrameStep;
using worker::Framing;

namespace {

constexpr size_t kMaxInputBytes = 256 * 1024 * 1024;
constexpr size_t kShownPayloadBytes = 24;

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0)
        text.remove_prefix(1);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
    return text;
}

bool is_hex(std::string_view word) {
    return !word.empty() &&
           std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    for (line = trimmed(line); !line.empty(); line = trimmed(line)) {
        const size_t end = std::min(line.find_first_of(" \t"), line.size());
        words.push_back(line.substr(0, end));
        line.remove_prefix(end);
    }
    return words;
}

// One line of a dump. The text column of xxd stands behind two spaces, that of hexdump -C behind a bar; the
// offset ends with a colon, or has seven or eight digits before words of one or two bytes.
bool read_dump_line(std::string_view line, std::string& bytes) {
    line = line.substr(0, line.find('|'));
    const size_t colon = line.find(": ");
    if (colon != line.npos && is_hex(trimmed(line.substr(0, colon)))) {
        line.remove_prefix(colon + 2);
        line = line.substr(0, line.find("  "));
    }
    std::vector<std::string_view> words = words_of(line);
    const bool has_offset = !words.empty() && words[0].size() >= 7 && words[0].size() <= 8 &&
                            (words.size() == 1 || words[1].size() <= 4);
    if (has_offset && colon == line.npos) words.erase(words.begin());
    for (const std::string_view word : words) {
        if (!is_hex(word) || word.size() % 2 != 0) return false;
        bytes += parse_hex(word).value_or("");
    }
    return true;
}

bool read_input(std::string& bytes) {
    char buffer[64 * 1024];
    for (;;) {
        const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
        if (got == 0) return true;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            fprintf(stderr, "tcpd: could not read standard input: %s\n", std::strerror(errno));
            return false;
        }
        bytes.append(buffer, static_cast<size_t>(got));
        if (bytes.size() <= kMaxInputBytes) continue;
        fprintf(stderr, "tcpd: standard input has more than 256MiB (give it a part of the stream)\n");
        return false;
    }
}

std::string shown(std::string_view payload) {
    std::string hex, text;
    for (const unsigned char c : payload.substr(0, kShownPayloadBytes)) {
        hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", c);
        text += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '.';
    }
    const char* more = payload.size() > kShownPayloadBytes ? " ..." : "";
    return payload.empty() ? std::string("empty") : fmt::format("{}{}  |{}|", hex, more, text);
}

// How far the bytes can be cut, without a word.
struct Fit {
    size_t frames = 0, fitted_bytes = 0;
    FrameProgress last;
};

template <typename OnFrame>
Fit cut(const Framing& framing, std::string_view bytes, OnFrame&& on_frame) {
    Fit fit;
    while (fit.fitted_bytes < bytes.size()) {
        fit.last = {};
        const std::string_view rest = bytes.substr(fit.fitted_bytes);
        if (framing.feed(fit.last, {}, rest) != FrameStep::whole) return fit;
        on_frame(fit.fitted_bytes, rest, fit.last);
        fit.fitted_bytes += fit.last.total_bytes;
        ++fit.frames;
    }
    return fit;
}

bool fits(const conf::Framing& config, std::string_view bytes) {
    return cut(Framing(config), bytes, [](auto&&...) {}).fitted_bytes == bytes.size();
}

// Other readings of the length by which all of it fits.
std::string other_readings(const conf::Framing& config, std::string_view bytes) {
    constexpr std::pair<conf::LengthCounts, const char*> kCounts[] = {
        {conf::LengthCounts::payload, "payload"},
        {conf::LengthCounts::from_itself, "from_itself"},
        {conf::LengthCounts::whole_frame, "whole_frame"}};
    constexpr std::pair<conf::ByteOrder, const char*> kOrders[] = {{conf::ByteOrder::big, "big"},
                                                                   {conf::ByteOrder::little, "little"}};
    std::string text;
    if (config.kind != conf::FramingKind::length) return text;
    for (const auto& [counts, counts_name] : kCounts) {
        // At the frame's begin it is the same as whole_frame.
        if (counts == conf::LengthCounts::from_itself && config.length_offset == 0) continue;
        for (const auto& [order, order_name] : kOrders) {
            if (config.length_is_varint && order == conf::ByteOrder::little) continue;
            conf::Framing other = config;
            other.length_counts = counts;
            other.length_order = order;
            if (other == config || !fits(other, bytes)) continue;
            text += fmt::format("all of it fits with length: {{counts: {}, order: {}}}\n", counts_name,
                                order_name);
        }
    }
    return text;
}

std::string wanted(const conf::Framing& config, FrameFault fault, size_t at) {
    switch (fault) {
        case FrameFault::magic: {
            const bool is_tcpd = config.kind == conf::FramingKind::tcpd;
            const bool is_length = config.kind == conf::FramingKind::length;
            const std::string_view magic = is_tcpd     ? worker::kTcpdMagic
                                           : is_length ? std::string_view(config.magic)
                                                       : std::string_view(config.delimiter);
            const size_t index = at - (is_length ? config.magic_offset : 0);
            return fmt::format(" where 0x{} belongs", format_hex(magic.substr(index, 1)));
        }
        case FrameFault::version: return fmt::format(" where version {} belongs", worker::kTcpdVersion);
        case FrameFault::length: return ", the end of a length that is less than what must be there";
        case FrameFault::too_long:
            return fmt::format(", max_frame is {}", format_size(config.max_frame_bytes));
        case FrameFault::none: break;
    }
    return "";
}

std::string describe_break(const conf::Framing& config, std::string_view bytes, const Fit& fit) {
    const std::string_view rest = bytes.substr(fit.fitted_bytes);
    if (fit.last.fault == FrameFault::none) {
        const std::string whole =
            fit.last.total_bytes != 0 ? fmt::format(" of {}", fit.last.total_bytes) : "";
        return fmt::format("{:<8} incomplete: {}{} bytes: {}\n", fit.fitted_bytes, rest.size(), whole,
                           shown(rest));
    }
    const size_t at = fit.last.seen_bytes - 1;
    const std::string byte =
        at < rest.size() ? fmt::format("0x{}", format_hex(rest.substr(at, 1))) : "nothing";
    return fmt::format("{:<8} {}: {} at {}{}\n{:<8} the frame begins with {}\n", fit.fitted_bytes,
                       name_of(fit.last.fault), byte, fit.fitted_bytes + at,
                       wanted(config, fit.last.fault, at), "", worker::describe_first_bytes(rest));
}

int report_unknown(const Command& command, const std::vector<conf::Framing>& declared) {
    std::vector<std::string_view> names;
    for (const conf::Framing& framing : conf::built_in_framings()) names.push_back(framing.name);
    for (const conf::Framing& framing : declared) names.push_back(framing.name);
    const auto near = nearest(command.framing, names);
    const std::string hint = near ? fmt::format("did you mean {}?", *near)
                                  : fmt::format("built in: raw, line, tcpd; {} others in {}", declared.size(),
                                                command.config_path);
    fprintf(stderr, "tcpd: there is no framing %s (%s)\n", quoted(command.framing).c_str(), hint.c_str());
    return kExitUsage;
}

}  // namespace

std::string read_hex_dump(std::string_view text) {
    std::string bytes;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        if (!read_dump_line(trimmed(text.substr(0, end)), bytes)) return {};
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return bytes;
}

Decoded decode_frames(const conf::Framing& config, std::string_view bytes) {
    const Framing framing(config);
    Decoded decoded;
    const Fit fit = cut(framing, bytes, [&](size_t at, std::string_view rest, const FrameProgress& frame) {
        const std::string type = framing.has_type() ? fmt::format("type 0x{:04X}  ", frame.type) : "";
        decoded.text += fmt::format("{:<8} {}length {:<6} {}\n", at, type, frame.payload_bytes(),
                                    shown(rest.substr(frame.header_bytes, frame.payload_bytes())));
    });
    decoded.is_whole = fit.fitted_bytes == bytes.size();
    if (!decoded.is_whole) decoded.text += describe_break(config, bytes, fit) + other_readings(config, bytes);
    decoded.text += fmt::format("{} frame{}, {} of {} bytes\n", fit.frames, fit.frames == 1 ? "" : "s",
                                fit.fitted_bytes, bytes.size());
    return decoded;
}

int decode(const Command& command) {
    std::optional<CheckedConfig> config;
    if (conf::find_built_in_framing(command.framing) == nullptr) {
        config = read_config(command);
        if (!config) return kExitConfig;
    }
    const std::vector<conf::Framing> none;
    const conf::Framing* framing =
        conf::find_framing(command.framing, config ? config->config.framings : none);
    if (framing == nullptr) return report_unknown(command, config->config.framings);
    std::string bytes;
    if (!read_input(bytes)) return kExitSystem;
    if (std::string dumped = read_hex_dump(bytes); !dumped.empty()) {
        fprintf(stderr, "tcpd: read as a hex dump of %zu bytes\n", dumped.size());
        bytes = std::move(dumped);
    }
    const Decoded decoded = decode_frames(*framing, bytes);
    const bool written = fwrite(decoded.text.data(), 1, decoded.text.size(), stdout) == decoded.text.size() &&
                         fflush(stdout) == 0;
    if (!written) return kExitSystem;
    return decoded.is_whole ? kExitFine : kExitData;
}

}  // namespace tcpd
