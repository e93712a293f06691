#include "tests/support/exact_stream.h"

#include <algorithm>
#include <cstring>

#include "tests/support/framed_client.h"
#include "tests/support/wait.h"

namespace tcpd::test {

using worker::ControlType;
using worker::FrameError;

namespace {

constexpr size_t kFramesOfARound = 37;
constexpr size_t kUnknownBytes = 16;  // the session id in AUTH_OK, which begins a reply
constexpr uint32_t kRefusedType = 0xF009;
constexpr size_t kBrokenBytes = 3000;  // more than one receive of what comes in small segments

// splitmix64: one multiply-and-shift chain a word, any word at once.
uint64_t word_at(uint64_t seed, uint64_t index) {
    uint64_t z = seed * 0xD1342543DE82EF95 + (index + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

std::string header(const FrameShape& shape, uint32_t type, uint64_t payload_bytes) {
    if (shape.is_tcpd) return header_bytes(type, payload_bytes);
    return header_bytes(type, payload_bytes).substr(worker::kTcpdHeaderBytes - shape.header_bytes());
}

std::string error(FrameError code, const char* reason) {
    const auto number = static_cast<uint16_t>(code);
    return frame_bytes(ControlType::error,
                       std::string{static_cast<char>(number >> 8), static_cast<char>(number)} + reason);
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
        constexpr uint64_t kBegin = worker::kTcpdHeaderBytes, kEnd = kBegin + kUnknownBytes;
        for (uint64_t i = std::max(at, kBegin);
             is_reply_ && shape_.authenticates && i < std::min<uint64_t>(at + part, kEnd); ++i) {
            expected[i - at] = from[i - at];
        }
        if (std::memcmp(expected, from, part) != 0) return false;
        at += part;
        from += part;
        bytes -= part;
    }
    return true;
}

// -- frames

size_t FrameShape::header_bytes() const { return is_tcpd ? worker::kTcpdHeaderBytes : sizeof(uint32_t); }

Pattern Pattern::of_frames(uint64_t seed, const FrameShape& shape, const std::string& hello) {
    Pattern pattern(seed);
    pattern.shape_ = shape;
    // AUTH with this token is as long as AUTH_OK: what comes back is as long as what was sent.
    if (shape.authenticates) pattern.prefix_ = frame_bytes(ControlType::auth, credential(kToken));
    if (!hello.empty()) pattern.prefix_ += header(shape, 0, hello.size()) + hello;
    uint64_t end = 0;
    for (size_t i = 0; i < kFramesOfARound; ++i) {
        const uint64_t random = word_at(seed, ~uint64_t{i});
        const uint64_t payload =
            pattern.is_ping(i) ? random % (worker::kMostPingBytes + 1)
                               : shape.least_bytes + random % (shape.most_bytes - shape.least_bytes + 1);
        pattern.ends_.push_back(end += shape.header_bytes() + payload);
    }
    pattern.asked_ends_ = pattern.ends_;
    return pattern;
}

// The prefix is as long.
Pattern Pattern::reply() const {
    Pattern reply = *this;
    reply.is_reply_ = true;
    if (shape_.authenticates) {
        const std::string ok = frame_bytes(ControlType::auth_ok, std::string(kUnknownBytes, '\0'));
        reply.prefix_.replace(0, ok.size(), ok);
    }
    uint64_t end = 0;
    for (size_t i = 0; i < ends_.size(); ++i) {
        const std::string error = error_for(i);
        reply.ends_[i] = end += !is_answered(i) ? 0 : error.empty() ? asked_bytes(i) : error.size();
    }
    return reply;
}

Pattern Pattern::passed_on() const {
    Pattern passed = *this;
    uint64_t end = 0;
    for (size_t i = 0; i < ends_.size(); ++i)
        passed.ends_[i] = end += error_for(i).empty() ? asked_bytes(i) : 0;
    return passed;
}

uint64_t Pattern::asked_bytes(uint64_t frame) const {
    return asked_ends_[frame] - (frame == 0 ? 0 : asked_ends_[frame - 1]);
}

uint32_t Pattern::type(uint64_t frame) const {
    if (is_ping(frame)) return type_of(is_reply_ ? ControlType::pong : ControlType::ping);
    if (shape_.answerer == Answerer::refusing && frame % 6 == 3) return kRefusedType;
    return static_cast<uint32_t>(shape_.answerer == Answerer::routes ? frame % 6 : frame);
}

bool Pattern::is_answered(uint64_t frame) const {
    const bool is_echo = shape_.answerer == Answerer::echo || shape_.answerer == Answerer::refusing;
    if (is_echo || is_ping(frame)) return true;
    return shape_.answerer == Answerer::routes && type(frame) != 2 && type(frame) != 4;
}

// In the place of an answer, if not empty.
std::string Pattern::error_for(uint64_t frame) const {
    if (type(frame) == kRefusedType)
        return error(FrameError::malformed, "not a control frame that a client sends");
    if (shape_.answerer != Answerer::routes || is_ping(frame)) return "";
    if (type(frame) == 3) return error(FrameError::unavailable, "not available");
    return type(frame) == 5 ? error(FrameError::malformed, "no route for this type") : "";
}

// Behind the prefix.
Pattern::Place Pattern::find(const Ends& ends, uint64_t at) const {
    const uint64_t in_frames = at - prefix_.size(), rest = in_frames % ends.back();
    const auto frame = static_cast<uint64_t>(std::upper_bound(ends.begin(), ends.end(), rest) - ends.begin());
    return {in_frames / ends.back(), frame, rest - (frame == 0 ? 0 : ends[frame - 1])};
}

uint64_t Pattern::begin_of(const Ends& ends, const Place& place) const {
    return prefix_.size() + place.round * ends.back() + (place.frame == 0 ? 0 : ends[place.frame - 1]);
}

uint64_t Pattern::frame_end(uint64_t at) const {
    if (at <= prefix_.size()) return prefix_.size();
    const Place place = find(ends_, at - 1);
    return begin_of(ends_, {place.round, place.frame + 1, 0});
}

// An echo may begin before all is there, and an error is sent as soon as a header says what it is for.
uint64_t Pattern::most_answered(uint64_t asked) const {
    if (shape_.answerer == Answerer::echo || asked <= prefix_.size()) return asked;
    Place place = find(asked_ends_, asked);
    if (place.skip >= shape_.header_bytes()) ++place.frame;
    return begin_of(ends_, place);
}

uint64_t Pattern::asked_by(uint64_t answered) const {
    if (shape_.answerer == Answerer::echo || answered < prefix_.size()) return answered;
    return begin_of(asked_ends_, find(ends_, answered));
}

void Pattern::end_at(uint64_t at) {
    last_word_at_ = at;
    if (shape_.last_word == LastWord::goodbye) {
        last_word_ = is_reply_ ? "" : frame_bytes(ControlType::close);
    } else {
        last_word_ = is_reply_ ? error(FrameError::malformed, "bad magic") : std::string(kBrokenBytes, 'x');
    }
}

void Pattern::fill_frames(uint64_t at, char* to, size_t bytes) const {
    while (bytes) {
        if (at >= last_word_at_) {
            const size_t skip = std::min<size_t>(at - last_word_at_, last_word_.size());
            last_word_.copy(to, bytes, skip);
            return;
        }
        const Place place = find(ends_, at);
        const uint64_t end = begin_of(ends_, {place.round, place.frame + 1, 0});
        std::string text = is_reply_ ? error_for(place.frame) : "";
        if (text.empty()) text = header_of(place.frame);
        auto part = static_cast<size_t>(std::min<uint64_t>({bytes, end - at, last_word_at_ - at}));
        if (place.skip < text.size()) {
            part = std::min<size_t>(part, text.size() - place.skip);
            text.copy(to, part, place.skip);
        } else {
            fill_random(begin_of(asked_ends_, place) - prefix_.size() + place.skip, to, part);
        }
        to += part;
        at += part;
        bytes -= part;
    }
}

std::string Pattern::header_of(uint64_t frame) const {
    return header(shape_, type(frame), asked_bytes(frame) - shape_.header_bytes());
}

std::string Hello::bytes() const { return std::string(reinterpret_cast<const char*>(this), sizeof *this); }

Hello Hello::from(const char* bytes) {
    Hello hello;
    if (std::memcmp(bytes, hello.magic, sizeof hello.magic) != 0) throw Failed("the stream begins wrong");
    std::memcpy(static_cast<void*>(&hello), bytes, sizeof hello);
    return hello;
}

}  // namespace tcpd::test
