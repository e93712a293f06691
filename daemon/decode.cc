#include "daemon/decode.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "daemon/base/text.h"
#include "daemon/check_config.h"
#include "daemon/hex_dump.h"
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

double fitted_share(const conf::Framing& config, std::string_view bytes) {
    const Fit fit = cut(Framing(config), bytes, [](auto&&...) {});
    return bytes.empty() ? 0 : static_cast<double>(fit.fitted_bytes) / static_cast<double>(bytes.size());
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

// What the input stands for, in the place of it. Digits that may be text as well are what the framing cuts further.
bool take_as(InputForm form, const conf::Framing& framing, std::string& bytes) {
    if (form == InputForm::raw) return true;
    HexDump dump = read_hex_dump(bytes);
    if (form == InputForm::hex && dump.is == HexDump::Is::none) {
        fprintf(stderr, "tcpd: standard input is no hex dump that can be read%s%s\n",
                dump.problem.empty() ? "" : ": ", dump.problem.c_str());
        return false;
    }
    const bool is_text = form == InputForm::guess && dump.is == HexDump::Is::maybe &&
                         fitted_share(framing, dump.bytes) <= fitted_share(framing, bytes);
    if (is_text) {
        fprintf(stderr, "tcpd: read as text of %zu bytes (--hex: as hexadecimal digits)\n", bytes.size());
    } else if (dump.is != HexDump::Is::none) {
        fprintf(stderr, "tcpd: read as a hex dump of %zu bytes (--raw: as it is)\n", dump.bytes.size());
        bytes = std::move(dump.bytes);
    } else if (!dump.problem.empty()) {
        fprintf(stderr, "tcpd: it looks like a hex dump, but can't be read as one: %s; read as it is\n",
                dump.problem.c_str());
    }
    return true;
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
    if (!take_as(command.input_form, *framing, bytes)) return kExitData;
    const Decoded decoded = decode_frames(*framing, bytes);
    const bool written = fwrite(decoded.text.data(), 1, decoded.text.size(), stdout) == decoded.text.size() &&
                         fflush(stdout) == 0;
    if (!written) return kExitSystem;
    return decoded.is_whole ? kExitFine : kExitData;
}

}  // namespace tcpd
