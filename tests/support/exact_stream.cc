#include "tests/support/exact_stream.h"

#include <algorithm>
#include <cstring>

#include "tests/support/framed_client.h"
#include "tests/support/wait.h"

namespace tcpd::test {

using worker::ControlType;

namespace {

constexpr size_t kFramesOfARound = 37;
constexpr size_t kHeader = worker::kTcpdHeaderBytes;
constexpr size_t kUnknownBytes = 16;  // the session id, which ends the reply's prefix
constexpr size_t kBreakBytes = 3000;  // more than one receive of what comes in small segments

// splitmix64: one multiply-and-shift chain a word, any word at once.
uint64_t word_at(uint64_t seed, uint64_t index) {
    uint64_t z = seed * 0xD1342543DE82EF95 + (index + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

}  // namespace

void Pattern::fill(uint64_t at, char* to, size_t bytes) const {
    while (bytes && at < prefix_.size()) {
        *to++ = prefix_[at++];
        --bytes;
    }
    if (shape_) return fill_frames(at, to, bytes);
    fill_random(at, to, bytes);
}

void Pattern::fill_random(uint64_t at, char* to, size_t bytes) const {
    while (bytes) {
        const uint64_t word = word_at(seed_, at / 8);
        const size_t skip = at % 8, part = std::min(bytes, 8 - skip);
        std::memcpy(to, reinterpret_cast<const char*>(&word) + skip, part);
        to += part;
        at += part;
        bytes -= part;
    }
}

bool Pattern::matches(uint64_t at, const char* from, size_t bytes) const {
    char expected[4096];
    while (bytes) {
        const size_t part = std::min(bytes, sizeof expected);
        fill(at, expected, part);
        // Nobody can know a session's id.
        for (uint64_t i = at; is_reply_ && i < std::min<uint64_t>(at + part, prefix_.size()); ++i) {
            if (i + kUnknownBytes >= prefix_.size()) expected[i - at] = from[i - at];
        }
        if (std::memcmp(expected, from, part) != 0) return false;
        at += part;
        from += part;
        bytes -= part;
    }
    return true;
}

Pattern Pattern::of_frames(uint64_t seed, const FrameShape& shape) {
    Pattern pattern(seed);
    pattern.shape_ = shape;
    if (shape.authenticates) pattern.prefix_ = frame_bytes(ControlType::auth, credential(kStreamToken));
    uint64_t end = 0;
    for (size_t i = 0; i < kFramesOfARound; ++i) {
        const uint64_t random = word_at(seed, ~uint64_t{i});
        const uint64_t payload =
            pattern.is_ping(i) ? random % (worker::kMostPingBytes + 1)
                               : shape.least_bytes + random % (shape.most_bytes - shape.least_bytes + 1);
        pattern.ends_.push_back(end += kHeader + payload);
    }
    return pattern;
}

// Of the same length, byte for byte.
Pattern Pattern::reply() const {
    Pattern reply = *this;
    reply.is_reply_ = true;
    if (shape_.authenticates) {
        reply.prefix_ = frame_bytes(ControlType::auth_ok, std::string(kUnknownBytes, '\0'));
    }
    return reply;
}

uint64_t Pattern::frame_end(uint64_t at) const {
    if (at <= prefix_.size()) return prefix_.size();
    const uint64_t in_frames = at - prefix_.size(), round = ends_.back();
    const uint64_t rest = in_frames % round;
    if (rest == 0) return at;
    return at - rest + *std::lower_bound(ends_.begin(), ends_.end(), rest);
}

void Pattern::break_at(uint64_t at) {
    break_at_ = at;
    break_ = std::string(kBreakBytes, 'x');
    if (is_reply_) break_ = frame_bytes(ControlType::error, std::string("\x01\x90").append("bad magic"));
}

void Pattern::fill_frames(uint64_t at, char* to, size_t bytes) const {
    while (bytes) {
        if (at >= break_at_) {
            const size_t skip = std::min<size_t>(at - break_at_, break_.size());
            break_.copy(to, bytes, skip);
            return;
        }
        const uint64_t place = (at - prefix_.size()) % ends_.back();
        const auto frame =
            static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), place) - ends_.begin());
        const uint64_t begin = frame == 0 ? 0 : ends_[frame - 1], skip = place - begin;
        size_t part = static_cast<size_t>(std::min<uint64_t>(
            {bytes, ends_[frame] - place, break_at_ - at, skip < kHeader ? kHeader - skip : kEndless}));
        if (skip < kHeader) {
            const ControlType ping = is_reply_ ? ControlType::pong : ControlType::ping;
            const uint32_t type = is_ping(frame) ? type_of(ping) : static_cast<uint32_t>(frame);
            header_bytes(type, ends_[frame] - begin - kHeader).copy(to, part, skip);
        } else {
            fill_random(at, to, part);
        }
        to += part;
        at += part;
        bytes -= part;
    }
}

std::string Hello::bytes() const { return std::string(reinterpret_cast<const char*>(this), sizeof *this); }

Hello Hello::from(const char* bytes) {
    Hello hello;
    if (std::memcmp(bytes, hello.magic, sizeof hello.magic) != 0) throw Failed("the stream begins wrong");
    std::memcpy(static_cast<void*>(&hello), bytes, sizeof hello);
    return hello;
}

}  // namespace tcpd::test
