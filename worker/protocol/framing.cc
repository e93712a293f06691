#include "worker/protocol/framing.h"

#include <endian.h>

#include <algorithm>
#include <cstring>

namespace tcpd::worker {

using conf::FramingKind;
using conf::LengthCounts;

namespace {

constexpr size_t kMaxVarintBytes = 5;
constexpr uint64_t kHuge = uint64_t{1} << 62;  // sums with it don't overflow

uint64_t read_number(std::string_view bytes, conf::ByteOrder order) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
        const size_t at = order == conf::ByteOrder::big ? i : bytes.size() - 1 - i;
        value = value << 8 | static_cast<uint8_t>(bytes[at]);
    }
    return value;
}

FrameStep fail(FrameProgress& progress, FrameFault fault, uint64_t seen_bytes) {
    progress.fault = fault;
    progress.seen_bytes = seen_bytes;
    return FrameStep::bad;
}

// Where `expected`, which begins at `offset` of a frame, differs from what is there of it; npos: nowhere.
size_t find_difference(std::string_view header, size_t offset, std::string_view expected) {
    for (size_t i = 0; i < expected.size() && offset + i < header.size(); ++i) {
        if (header[offset + i] != expected[i]) return offset + i;
    }
    return std::string_view::npos;
}

}  // namespace

Framing::Framing(const conf::Framing& config) : config_(config) {
    const std::string& pattern = config_.delimiter;
    for (size_t i = 1, matched = 0; i < pattern.size(); ++i) {
        while (matched > 0 && pattern[i] != pattern[matched]) matched = fallback_[matched];
        if (pattern[i] == pattern[matched]) ++matched;
        fallback_[i + 1] = static_cast<uint8_t>(matched);
    }
}

FrameStep Framing::feed(FrameProgress& progress, std::string_view head, std::string_view piece) const {
    if (progress.fault != FrameFault::none) return FrameStep::bad;
    if (!progress.is_header_known) [[unlikely]] {
        char joined[kMaxHeaderBytes];
        std::string_view header = piece.substr(0, kMaxHeaderBytes);
        if (progress.seen_bytes > 0) {
            const size_t seen = progress.seen_bytes;
            const size_t more = std::min(piece.size(), kMaxHeaderBytes - seen);
            std::memcpy(joined, head.data(), seen);
            std::memcpy(joined + seen, piece.data(), more);
            header = {joined, seen + more};
        }
        const FrameStep step = examine(progress, header);
        if (step == FrameStep::bad) return step;
        if (step == FrameStep::more) {
            progress.seen_bytes += piece.size();
            return step;
        }
        // Bytes of an opening delimiter are not looked at again.
        if (progress.total_bytes == 0) {
            const size_t passed =
                progress.header_bytes - std::min<size_t>(progress.header_bytes, progress.seen_bytes);
            progress.seen_bytes += passed;
            piece.remove_prefix(passed);
        }
    }
    if (config_.kind == FramingKind::line) return seek_line_end(progress, piece);
    if (config_.kind == FramingKind::delimiter) return seek_end(progress, piece);
    if (config_.kind == FramingKind::raw) progress.total_bytes = piece.size();
    progress.seen_bytes += std::min<uint64_t>(progress.total_bytes - progress.seen_bytes, piece.size());
    return progress.seen_bytes == progress.total_bytes ? FrameStep::whole : FrameStep::more;
}

// Magic, version and the type's first byte in one load, the length in another. Frames with the same header as
// the one before are passed without waiting for their length.
uint32_t Framing::run_of_tcpd_frames(std::string_view bytes, uint32_t* frames) const {
    constexpr uint64_t kBegin = uint64_t{0xCAFEBABE} << 8 | kTcpdVersion;
    const char* data = bytes.data();
    size_t left = bytes.size();
    uint32_t count = 0;
    while (left >= kTcpdHeaderBytes) {
        uint64_t begin, next_begin;
        uint32_t length, next_length;
        std::memcpy(&begin, data, sizeof begin);
        std::memcpy(&length, data + 7, sizeof length);
        const bool is_control = (be64toh(begin) >> 16 & 0xFF) >= kFirstControlType >> 8;
        const uint64_t total = uint64_t{be32toh(length)} + kTcpdHeaderBytes;
        if (be64toh(begin) >> 24 != kBegin || is_control) break;
        if (total - kTcpdHeaderBytes > config_.max_frame_bytes || total > left) break;
        do {
            data += total;
            left -= total;
            ++count;
            if (left < total) break;
            std::memcpy(&next_begin, data, sizeof next_begin);
            std::memcpy(&next_length, data + 7, sizeof next_length);
        } while (next_begin == begin && next_length == length);
    }
    *frames = count;
    return static_cast<uint32_t>(bytes.size() - left);
}

// `whole`: the header is known.
FrameStep Framing::examine(FrameProgress& progress, std::string_view header) const {
    switch (config_.kind) {
        case FramingKind::tcpd: return examine_tcpd(progress, header);
        case FramingKind::length: return examine_length(progress, header);
        case FramingKind::fixed: progress.total_bytes = config_.fixed_bytes; break;
        case FramingKind::delimiter:
            if (!config_.both_ends) break;
            if (const size_t at = find_difference(header, 0, config_.delimiter); at != header.npos)
                return fail(progress, FrameFault::magic, at + 1);
            if (header.size() < config_.delimiter.size()) return FrameStep::more;
            progress.header_bytes = static_cast<uint16_t>(config_.delimiter.size());
            break;
        case FramingKind::raw:
        case FramingKind::line: break;
    }
    progress.is_header_known = true;
    return FrameStep::whole;
}

FrameStep Framing::examine_tcpd(FrameProgress& progress, std::string_view header) const {
    if (const size_t at = find_difference(header, 0, kTcpdMagic); at != header.npos)
        return fail(progress, FrameFault::magic, at + 1);
    if (header.size() > 4 && static_cast<uint8_t>(header[4]) != kTcpdVersion)
        return fail(progress, FrameFault::version, 5);
    if (header.size() < kTcpdHeaderBytes) return FrameStep::more;
    progress.type = static_cast<uint32_t>(read_number(header.substr(5, 2), conf::ByteOrder::big));
    const uint64_t payload = read_number(header.substr(7, 4), conf::ByteOrder::big);
    const bool is_control = progress.type >= kFirstControlType;
    if (payload > (is_control ? kMaxControlBytes : config_.max_frame_bytes))
        return fail(progress, FrameFault::too_long, kTcpdHeaderBytes);
    progress.header_bytes = kTcpdHeaderBytes;
    progress.total_bytes = kTcpdHeaderBytes + payload;
    progress.is_header_known = true;
    return FrameStep::whole;
}

FrameStep Framing::examine_length(FrameProgress& progress, std::string_view header) const {
    const size_t magic_at = find_difference(header, config_.magic_offset, config_.magic);
    const bool is_magic_first = config_.magic_offset < config_.length_offset;
    if (magic_at != header.npos && is_magic_first) return fail(progress, FrameFault::magic, magic_at + 1);
    const size_t begin = config_.length_offset;
    if (!config_.length_is_varint) {
        const size_t bytes = config_.length_bytes.value_or(0);
        if (header.size() < begin + bytes) return FrameStep::more;
        const uint64_t value = read_number(header.substr(begin, bytes), config_.length_order);
        if (settle(progress, begin + bytes, value) == FrameStep::bad) return FrameStep::bad;
    } else {
        uint64_t value = 0;
        size_t at = begin;
        for (;; ++at) {
            if (at == begin + kMaxVarintBytes) return fail(progress, FrameFault::length, at);
            if (at >= header.size()) return FrameStep::more;
            value |= uint64_t{static_cast<uint8_t>(header[at]) & 0x7Fu} << 7 * (at - begin);
            if ((static_cast<uint8_t>(header[at]) & 0x80) == 0) break;
        }
        if (settle(progress, at + 1, value) == FrameStep::bad) return FrameStep::bad;
    }
    const size_t type_end = config_.type_offset + config_.type_bytes;
    const size_t magic_end = config_.magic_offset + config_.magic.size();
    const size_t known_at = std::max({size_t{progress.header_bytes}, config_.type_bytes != 0 ? type_end : 0,
                                      config_.magic.empty() ? 0 : magic_end});
    if (known_at > progress.total_bytes) return fail(progress, FrameFault::length, progress.header_bytes);
    if (magic_at != header.npos) return fail(progress, FrameFault::magic, magic_at + 1);
    if (header.size() < known_at) return FrameStep::more;
    if (config_.type_bytes != 0) {
        progress.type = static_cast<uint32_t>(
            read_number(header.substr(config_.type_offset, config_.type_bytes), config_.type_order));
    }
    progress.is_header_known = true;
    return FrameStep::whole;
}

FrameStep Framing::settle(FrameProgress& progress, uint64_t length_end, uint64_t value) const {
    if (value > kHuge) return fail(progress, FrameFault::too_long, length_end);
    auto total = static_cast<int64_t>(value) + config_.length_adjust;
    if (config_.length_counts == LengthCounts::payload) total += static_cast<int64_t>(length_end);
    if (config_.length_counts == LengthCounts::from_itself) total += config_.length_offset;
    if (total < static_cast<int64_t>(length_end)) return fail(progress, FrameFault::length, length_end);
    if (static_cast<uint64_t>(total) - length_end > config_.max_frame_bytes)
        return fail(progress, FrameFault::too_long, length_end);
    progress.header_bytes = static_cast<uint16_t>(length_end);
    progress.total_bytes = static_cast<uint64_t>(total);
    return FrameStep::whole;
}

// Whether more than max_frame was seen, not counting the last `kept_back`, which may belong to the end.
bool Framing::is_over(const FrameProgress& progress, uint64_t kept_back) const {
    return progress.seen_bytes - progress.header_bytes - kept_back > config_.max_frame_bytes;
}

FrameStep Framing::end_frame(FrameProgress& progress, uint64_t trailer_bytes) const {
    progress.total_bytes = progress.seen_bytes;
    progress.trailer_bytes = static_cast<uint8_t>(trailer_bytes);
    progress.matched_bytes = 0;
    return FrameStep::whole;
}

FrameStep Framing::seek_end(FrameProgress& progress, std::string_view piece) const {
    const std::string& pattern = config_.delimiter;
    size_t matched = progress.matched_bytes;
    size_t at = 0;
    while (at < piece.size() && matched < pattern.size()) {
        if (matched == 0) {
            const void* found = std::memchr(piece.data() + at, pattern[0], piece.size() - at);
            at = found != nullptr ? static_cast<size_t>(static_cast<const char*>(found) - piece.data())
                                  : piece.size();
            if (found == nullptr) break;
        }
        while (matched > 0 && piece[at] != pattern[matched]) matched = fallback_[matched];
        if (piece[at] == pattern[matched]) ++matched;
        ++at;
    }
    progress.seen_bytes += at;
    progress.matched_bytes = static_cast<uint8_t>(matched);
    if (is_over(progress, matched))
        return fail(progress, FrameFault::too_long, progress.header_bytes + config_.max_frame_bytes + 1);
    return matched == pattern.size() ? end_frame(progress, matched) : FrameStep::more;
}

// LF, or CR LF; matched_bytes 1: the last byte was a CR.
FrameStep Framing::seek_line_end(FrameProgress& progress, std::string_view piece) const {
    if (piece.empty()) return FrameStep::more;
    const size_t end = piece.find('\n');
    const size_t line = std::min(end, piece.size());
    const bool has_cr = line > 0 ? piece[line - 1] == '\r' : progress.matched_bytes != 0;
    progress.seen_bytes += end == piece.npos ? line : line + 1;
    progress.matched_bytes = has_cr;
    const uint64_t trailer = has_cr + (end != piece.npos ? 1u : 0u);
    if (is_over(progress, trailer)) return fail(progress, FrameFault::too_long, config_.max_frame_bytes + 1);
    return end == piece.npos ? FrameStep::more : end_frame(progress, trailer);
}

std::string_view name_of(FrameFault fault) {
    switch (fault) {
        case FrameFault::none: return "no fault";
        case FrameFault::magic: return "bad magic";
        case FrameFault::version: return "unsupported version";
        case FrameFault::length: return "bad length";
        case FrameFault::too_long: return "too long";
    }
    return "unknown";
}

}  // namespace tcpd::worker
