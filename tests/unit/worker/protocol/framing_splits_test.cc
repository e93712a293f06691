#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/cut_stream.h"
#include "worker/protocol/framing.h"

namespace tcpd::worker {

using conf::ByteOrder;
using conf::FramingKind;
using conf::LengthCounts;
using test::cut_by_byte;
using test::cut_stream;
using test::cut_whole;
using test::CutFrame;
using test::CutStream;
using test::number;

namespace {

using Random = std::mt19937_64;

uint64_t below(Random& random, uint64_t end) { return random() % end; }

char random_byte(Random& random) { return static_cast<char>(random()); }

// `bytes` of LEB128, with zeros at its end if the value needs fewer.
std::string varint(uint64_t value, size_t bytes) {
    std::string text;
    for (size_t i = 0; i < bytes; ++i)
        text += static_cast<char>((value >> 7 * i & 0x7F) | (i + 1 < bytes ? 0x80u : 0u));
    return text;
}

struct Made {
    std::string bytes;
    CutFrame frame;  // its offset not filled in
};

// Some byte strings that a frame of `config` can't have are tried and given up: then nothing.
std::optional<Made> try_length_frame(const conf::Framing& config, Random& random) {
    const bool is_varint = config.length_is_varint;
    const size_t length_bytes = is_varint ? 1 + below(random, 5) : config.length_bytes.value();
    const size_t header = config.length_offset + length_bytes;
    const size_t body = below(random, below(random, 8) == 0 ? config.max_frame_bytes + 1 : 24);
    size_t counted = body;
    if (config.length_counts != LengthCounts::payload) counted += length_bytes;
    if (config.length_counts == LengthCounts::whole_frame) counted += config.length_offset;
    const int64_t value = static_cast<int64_t>(counted) - config.length_adjust;
    const size_t bits = length_bytes * (is_varint ? 7 : 8);
    if (value < 0 || (bits < 64 && value >> bits != 0)) return std::nullopt;
    if (header + body < config.type_offset + config.type_bytes) return std::nullopt;
    if (header + body < config.magic_offset + config.magic.size()) return std::nullopt;

    Made made;
    for (size_t i = 0; i < header + body; ++i) made.bytes += random_byte(random);
    const auto unsigned_value = static_cast<uint64_t>(value);
    made.bytes.replace(config.length_offset, length_bytes,
                       is_varint ? varint(unsigned_value, length_bytes)
                                 : number(unsigned_value, length_bytes, config.length_order));
    made.bytes.replace(config.magic_offset, config.magic.size(), config.magic);
    uint64_t type = below(random, uint64_t{1} << 8 * config.type_bytes);
    if (config.type_bytes != 0) {
        made.bytes.replace(config.type_offset, config.type_bytes,
                           number(type, config.type_bytes, config.type_order));
        // A varint of fewer bytes than it may have must not have been written over.
        if (config.type_offset > config.length_offset && config.type_offset < header) return std::nullopt;
    }
    made.frame = {0, header + body, static_cast<unsigned>(header), 0, static_cast<uint32_t>(type)};
    return made;
}

std::optional<Made> try_delimited_frame(const conf::Framing& config, Random& random) {
    const std::string& delimiter = config.delimiter;
    std::string body;
    const bool is_nearly_delimiter = below(random, 2) == 0;
    for (size_t i = below(random, config.max_frame_bytes + 1); i > 0; --i)
        body += is_nearly_delimiter ? delimiter[below(random, delimiter.size())] : random_byte(random);
    if (is_nearly_delimiter && !body.empty()) body[below(random, body.size())] = 'x';
    const std::string closed = body + delimiter;
    if (closed.find(delimiter) != body.size()) return std::nullopt;
    const auto size = static_cast<unsigned>(delimiter.size());
    const unsigned opening = config.both_ends ? size : 0;
    return Made{(config.both_ends ? delimiter : "") + closed, {0, opening + closed.size(), opening, size, 0}};
}

Made make_line(const conf::Framing& config, Random& random) {
    std::string body;
    for (size_t i = below(random, config.max_frame_bytes + 1); i > 0; --i) body += "ab\r\0"[below(random, 4)];
    if (body.ends_with('\r')) body.back() = 'x';  // it would belong to the end
    const bool has_cr = below(random, 2) == 0;
    body += has_cr ? "\r\n" : "\n";
    return {body, {0, body.size(), 0, has_cr ? 2u : 1u, 0}};
}

Made make_tcpd(const conf::Framing& config, Random& random) {
    const bool is_control = below(random, 4) == 0;
    const uint64_t type = is_control ? 0xF000 + below(random, 0x1000) : below(random, 0xF000);
    const uint64_t most = is_control && below(random, 4) == 0 ? 4096 : config.max_frame_bytes;
    const size_t payload = below(random, below(random, 8) == 0 ? most + 1 : 24);
    std::string bytes =
        "\xca\xfe\xba\xbe\x01" + number(type, 2, ByteOrder::big) + number(payload, 4, ByteOrder::big);
    for (size_t i = 0; i < payload; ++i) bytes += random_byte(random);
    return {bytes, {0, 11 + payload, 11, 0, static_cast<uint32_t>(type)}};
}

Made make_frame(const conf::Framing& config, Random& random) {
    for (;;) {
        std::optional<Made> made;
        switch (config.kind) {
            case FramingKind::length: made = try_length_frame(config, random); break;
            case FramingKind::delimiter: made = try_delimited_frame(config, random); break;
            case FramingKind::line: made = make_line(config, random); break;
            case FramingKind::tcpd: made = make_tcpd(config, random); break;
            case FramingKind::fixed:
            case FramingKind::raw:
                made = Made{std::string(config.fixed_bytes, random_byte(random)),
                            {0, config.fixed_bytes, 0, 0, 0}};
                break;
        }
        if (made) return *made;
    }
}

struct Stream {
    std::string bytes;
    std::vector<CutFrame> frames;
};

Stream make_stream(const conf::Framing& config, Random& random) {
    Stream stream;
    for (size_t i = 1 + below(random, 6); i > 0; --i) {
        Made made = make_frame(config, random);
        made.frame.offset = stream.bytes.size();
        stream.bytes += made.bytes;
        stream.frames.push_back(made.frame);
    }
    return stream;
}

void mutate(std::string& bytes, Random& random) {
    for (size_t i = 1 + below(random, 4); i > 0 && !bytes.empty(); --i) {
        // Headers are at the front more often than anywhere else.
        const size_t at = below(random, 1 + below(random, bytes.size()));
        switch (below(random, 4)) {
            case 0: bytes[at] = random_byte(random); break;
            case 1: bytes.insert(at, 1, random_byte(random)); break;
            case 2: bytes.erase(at, 1 + below(random, 3)); break;
            default: bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(random, 8));
        }
    }
    if (below(random, 4) == 0) bytes.resize(below(random, bytes.size() + 1));
}

std::string in_hex(std::string_view bytes) {
    std::string text;
    for (const unsigned char c : bytes) {
        text += "0123456789abcdef"[c >> 4];
        text += "0123456789abcdef"[c & 15];
    }
    return text;
}

constexpr int kRounds = 500;  // for each framing of the table

}  // namespace

BOOST_AUTO_TEST_SUITE(protocol_framing_splits)

BOOST_AUTO_TEST_CASE(valid_frames_are_found_however_the_stream_is_split) {
    Random random(1);
    for (const conf::Framing& config : test::all_framings()) {
        const Framing framing(config);
        for (int round = 0; round < kRounds; ++round) {
            const Stream stream = make_stream(config, random);
            const CutStream expected{stream.frames, FrameStep::whole, FrameFault::none, 0, {}};
            const auto pieces = test::split(stream.bytes, static_cast<uint32_t>(random()));
            BOOST_TEST_CONTEXT(config.name << ' ' << in_hex(stream.bytes)) {
                BOOST_REQUIRE_EQUAL(cut_whole(framing, stream.bytes), expected);
                BOOST_REQUIRE_EQUAL(cut_stream(framing, pieces), expected);
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(damaged_streams_have_the_same_frames_and_the_same_fault_however_they_are_split) {
    Random random(2);
    for (const conf::Framing& config : test::all_framings()) {
        const Framing framing(config);
        for (int round = 0; round < kRounds; ++round) {
            std::string bytes = make_stream(config, random).bytes;
            mutate(bytes, random);
            const auto pieces = test::split(bytes, static_cast<uint32_t>(random()));
            BOOST_TEST_CONTEXT(config.name << ' ' << in_hex(bytes)) {
                const CutStream expected = cut_whole(framing, bytes);
                BOOST_REQUIRE_EQUAL(expected.broken_rule, "");
                BOOST_REQUIRE_EQUAL(cut_stream(framing, pieces), expected);
                BOOST_REQUIRE_EQUAL(cut_by_byte(framing, bytes), expected);
            }
        }
    }
}

// Of a stream that ends early nothing is found that the longer one has not, and no fault too late.
BOOST_AUTO_TEST_CASE(a_fault_is_found_with_the_byte_it_is_told_for) {
    Random random(3);
    for (const conf::Framing& config : test::all_framings()) {
        // What may be the end is waited for: there the fault is told for a byte before those.
        if (config.kind == FramingKind::delimiter || config.kind == FramingKind::line) continue;
        const Framing framing(config);
        for (int round = 0; round < kRounds; ++round) {
            std::string bytes = make_stream(config, random).bytes;
            mutate(bytes, random);
            const CutStream all = cut_whole(framing, bytes);
            if (all.end != FrameStep::bad) continue;
            BOOST_TEST_CONTEXT(config.name << ' ' << in_hex(bytes)) {
                const std::string_view early(bytes.data(), all.fault_offset);
                BOOST_REQUIRE_EQUAL(cut_whole(framing, early), all);
                BOOST_REQUIRE(cut_whole(framing, early.substr(0, early.size() - 1)).end != FrameStep::bad);
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(random_bytes_break_no_promise_and_come_to_an_end) {
    Random random(4);
    for (const conf::Framing& config : test::all_framings()) {
        const Framing framing(config);
        for (int round = 0; round < kRounds; ++round) {
            std::string bytes;
            const uint64_t values = uint64_t{1} << (1 + below(random, 8));  // few: many small numbers
            for (size_t i = below(random, 120); i > 0; --i) bytes += static_cast<char>(below(random, values));
            const auto pieces = test::split(bytes, static_cast<uint32_t>(random()));
            BOOST_TEST_CONTEXT(config.name << ' ' << in_hex(bytes)) {
                BOOST_REQUIRE_EQUAL(cut_stream(framing, pieces).broken_rule, "");
            }
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
