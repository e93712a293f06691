#pragma once

// A table of framings that has every form in it, and what it is made with.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "worker/protocol/framing.h"

namespace tcpd::test {

// As a field of a header.
inline std::string number(uint64_t value, size_t bytes, conf::ByteOrder order) {
    std::string text;
    for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i);
    if (order == conf::ByteOrder::big) std::reverse(text.begin(), text.end());
    return text;
}

// `bytes` 0: a varint.
inline conf::Framing length_framing(const char* name, unsigned offset, unsigned bytes,
                                    conf::LengthCounts counts = conf::LengthCounts::payload, int adjust = 0,
                                    conf::ByteOrder order = conf::ByteOrder::big) {
    conf::Framing framing;
    framing.name = name;
    framing.kind = conf::FramingKind::length;
    framing.length_offset = offset;
    framing.length_is_varint = bytes == 0;
    if (bytes != 0) framing.length_bytes = bytes;
    framing.length_order = order;
    framing.length_counts = counts;
    framing.length_adjust = adjust;
    framing.max_frame_bytes = 300;
    return framing;
}

inline conf::Framing with_type(conf::Framing framing, unsigned offset, unsigned bytes,
                               conf::ByteOrder order = conf::ByteOrder::big) {
    framing.type_offset = offset;
    framing.type_bytes = bytes;
    framing.type_order = order;
    return framing;
}

inline conf::Framing with_magic(conf::Framing framing, unsigned offset, std::string_view magic) {
    framing.magic_offset = offset;
    framing.magic = magic;
    return framing;
}

inline conf::Framing delimiter_framing(const char* name, std::string_view delimiter, bool both_ends = false) {
    conf::Framing framing;
    framing.name = name;
    framing.kind = conf::FramingKind::delimiter;
    framing.delimiter = delimiter;
    framing.both_ends = both_ends;
    framing.max_frame_bytes = 40;
    return framing;
}

inline conf::Framing built_in_framing(std::string_view name, uint64_t max_frame_bytes) {
    conf::Framing framing = *conf::find_built_in_framing(name);
    framing.max_frame_bytes = max_frame_bytes;
    return framing;
}

// Every form. "raw" is not in it: its frames are the pieces. Seeds of the fuzzing count on the order.
inline const std::vector<conf::Framing>& all_framings() {
    using conf::ByteOrder;
    using conf::LengthCounts;
    using namespace std::string_view_literals;
    static const std::vector<conf::Framing> kAll = [] {
        std::vector<conf::Framing> all;
        all.push_back(length_framing("dns", 0, 2));
        all.push_back(with_type(with_magic(length_framing("modbus", 4, 2), 2, "\0\0"sv), 7, 1));
        all.push_back(with_type(length_framing("kafka", 0, 4), 4, 2));
        all.push_back(with_type(length_framing("mqtt", 1, 0), 0, 1));
        all.push_back(with_type(
            with_magic(length_framing("diameter", 1, 3, LengthCounts::whole_frame), 0, "\x01"), 5, 3));
        all.push_back(delimiter_framing("jt808", "\x7e", true));
        all.push_back(conf::Framing());
        all.back().name = "fixed";
        all.back().kind = conf::FramingKind::fixed;
        all.back().fixed_bytes = 7;
        all.push_back(built_in_framing("line", 40));
        all.push_back(built_in_framing("tcpd", 300));
        // The sequence number between length and payload is not counted.
        all.push_back(
            with_type(length_framing("mysql", 0, 3, LengthCounts::payload, 1, ByteOrder::little), 4, 1));
        all.push_back(with_type(length_framing("postgres", 1, 4, LengthCounts::from_itself), 0, 1));
        all.push_back(length_framing("one_byte", 4, 1, LengthCounts::from_itself, 2));
        all.push_back(
            with_type(length_framing("eight_little", 4, 8, LengthCounts::from_itself, -3, ByteOrder::little),
                      0, 4, ByteOrder::little));
        all.push_back(length_framing("eight_whole", 0, 8, LengthCounts::whole_frame, -5));
        all.push_back(with_magic(
            with_type(length_framing("magic_behind", 0, 4, LengthCounts::whole_frame, 0, ByteOrder::little),
                      4, 2, ByteOrder::little),
            6, "MSG!"));
        all.push_back(
            with_magic(length_framing("varint_whole", 2, 0, LengthCounts::whole_frame, 4), 0, "\xab\xcd"));
        all.push_back(with_type(length_framing("varint_itself", 0, 0, LengthCounts::from_itself), 5, 4));
        all.push_back(delimiter_framing("nul", "\0"sv));
        all.push_back(delimiter_framing("overlapping", "aab"));
        all.push_back(delimiter_framing("twice", "abab"));
        all.push_back(delimiter_framing("both_overlapping", "aab", true));
        return all;
    }();
    return kAll;
}

inline const conf::Framing& framing_named(std::string_view name) {
    for (const conf::Framing& framing : all_framings()) {
        if (framing.name == name) return framing;
    }
    throw std::string(name);
}

}  // namespace tcpd::test
