#pragma once

// Cuts streams as the owner of a connection does. What the tests of worker/protocol/framing.h and the fuzzing
// of it share, as they do the table of framings, so nothing of Boost in here.

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/framing_table.h"
#include "worker/protocol/framing.h"

namespace tcpd::test {

struct CutFrame {
    uint64_t offset = 0;  // of its first byte in the stream
    uint64_t total_bytes = 0;
    unsigned header_bytes = 0;
    unsigned trailer_bytes = 0;
    uint32_t type = 0;
    bool operator==(const CutFrame&) const = default;
};

struct CutStream {
    std::vector<CutFrame> frames;
    worker::FrameStep end = worker::FrameStep::whole;  // more: the last frame is incomplete
    worker::FrameFault fault = worker::FrameFault::none;
    uint64_t fault_offset = 0;  // in the stream, behind the first wrong byte
    std::string broken_rule;    // which promise of feed() does not hold; empty: all do
    bool operator==(const CutStream&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const CutFrame& frame) {
    return out << '{' << frame.offset << '+' << frame.total_bytes << " h" << frame.header_bytes << " t"
               << frame.trailer_bytes << " type " << frame.type << '}';
}

inline std::ostream& operator<<(std::ostream& out, const CutStream& cut) {
    for (const CutFrame& frame : cut.frames) out << frame << ' ';
    if (cut.end == worker::FrameStep::more) out << "and more";
    if (cut.end == worker::FrameStep::bad) out << "and " << name_of(cut.fault) << " at " << cut.fault_offset;
    return out << cut.broken_rule;
}

// Each piece, and the head, is handed in as a block of its own, so that a sanitizer sees a byte read too
// many.
inline CutStream cut_stream(const worker::Framing& framing, const std::vector<std::string_view>& pieces) {
    using worker::FrameStep;
    CutStream cut;
    worker::FrameProgress progress;
    std::string head;
    uint64_t begin = 0;
    const auto broken = [&cut](const char* rule) {
        cut.broken_rule = rule;
        return cut;
    };
    for (const std::string_view piece : pieces) {
        const std::vector<char> own_piece(piece.begin(), piece.end());
        std::string_view rest(own_piece.data(), own_piece.size());
        while (!rest.empty()) {
            const std::vector<char> own_head(head.begin(), head.end());
            const uint64_t before = progress.seen_bytes;
            const FrameStep step = framing.feed(progress, {own_head.data(), own_head.size()}, rest);
            if (step == FrameStep::bad) {
                cut.end = step;
                cut.fault = progress.fault;
                cut.fault_offset = begin + progress.seen_bytes;
                if (cut.fault == worker::FrameFault::none) return broken("bad without a fault");
                if (progress.seen_bytes == 0) return broken("a fault before the first byte");
                if (progress.seen_bytes > before + rest.size())
                    return broken("a fault in bytes not seen yet");
                if (framing.feed(progress, {}, "x") != FrameStep::bad ||
                    cut.fault_offset != begin + progress.seen_bytes || cut.fault != progress.fault)
                    return broken("a fault that does not stay");
                return cut;
            }
            if (progress.fault != worker::FrameFault::none) return broken("a fault, but not bad");
            if (progress.seen_bytes <= before) return broken("no step forwards");
            const uint64_t taken = progress.seen_bytes - before;
            if (taken > rest.size()) return broken("more taken than there was");
            if (step == FrameStep::more) {
                if (taken != rest.size()) return broken("more wanted, but not all taken");
                // Once the header is known nobody may look at the head, so it is empty from then on.
                if (progress.is_header_known) {
                    head.clear();
                } else {
                    head.append(rest);
                }
            } else {
                if (!progress.is_header_known) return broken("whole without a header");
                if (progress.total_bytes != progress.seen_bytes) return broken("whole, but not all seen");
                if (uint64_t{progress.header_bytes} + progress.trailer_bytes > progress.total_bytes)
                    return broken("header and trailer longer than the frame");
                cut.frames.push_back({begin, progress.total_bytes, progress.header_bytes,
                                      progress.trailer_bytes, progress.type});
                begin += progress.total_bytes;
                progress = {};
                head.clear();
            }
            rest.remove_prefix(taken);
        }
    }
    if (progress.seen_bytes > 0) cut.end = FrameStep::more;
    return cut;
}

inline CutStream cut_whole(const worker::Framing& framing, std::string_view stream) {
    return cut_stream(framing, {stream});
}

inline CutStream cut_by_byte(const worker::Framing& framing, std::string_view stream) {
    std::vector<std::string_view> pieces;
    for (size_t i = 0; i < stream.size(); ++i) pieces.push_back(stream.substr(i, 1));
    return cut_stream(framing, pieces);
}

// Pieces of 1 to a few bytes, or to some dozens: which, and where the cuts are, the seed says.
inline std::vector<std::string_view> split(std::string_view stream, uint32_t seed) {
    std::minstd_rand random(seed + 1);
    const size_t most = size_t{1} << (1 + random() % 6);
    std::vector<std::string_view> pieces;
    while (!stream.empty()) {
        pieces.push_back(stream.substr(0, 1 + random() % most));
        stream.remove_prefix(pieces.back().size());
    }
    return pieces;
}

}  // namespace tcpd::test
