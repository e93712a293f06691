#include "worker/protocol/framing.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/cut_stream.h"

namespace tcpd::worker {

using conf::ByteOrder;
using conf::LengthCounts;
using test::cut_by_byte;
using test::cut_stream;
using test::cut_whole;
using test::CutFrame;
using test::CutStream;
using test::number;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

CutStream whole(std::vector<CutFrame> frames) { return {std::move(frames), FrameStep::whole, {}, 0, {}}; }
CutStream more(std::vector<CutFrame> frames) { return {std::move(frames), FrameStep::more, {}, 0, {}}; }
CutStream bad(std::vector<CutFrame> frames, FrameFault fault, uint64_t offset) {
    return {std::move(frames), FrameStep::bad, fault, offset, {}};
}

// In one piece and byte by byte; in one piece if the two are the same, else the one byte by byte, told apart.
CutStream cut(const conf::Framing& config, std::string_view stream) {
    const Framing framing(config);
    CutStream at_once = cut_whole(framing, stream);
    CutStream by_byte = cut_by_byte(framing, stream);
    if (at_once == by_byte) return at_once;
    by_byte.broken_rule += " (byte by byte only)";
    return by_byte;
}

CutStream cut(std::string_view name, std::string_view stream) {
    return cut(test::framing_named(name), stream);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(protocol_framing)

BOOST_AUTO_TEST_CASE(dns_over_tcp_two_bytes_of_length) {
    BOOST_TEST(cut("dns", "\0\x05hello\0\0\0\x02hi"sv) ==
               whole({{0, 7, 2, 0, 0}, {7, 2, 2, 0, 0}, {9, 4, 2, 0, 0}}));
    BOOST_TEST(cut("dns", "\0\x05hello\0"sv) == more({{0, 7, 2, 0, 0}}));
    BOOST_TEST(cut("dns", "\0\x05hell"sv) == more({}));
    BOOST_TEST(cut("dns", "") == whole({}));
}

BOOST_AUTO_TEST_CASE(modbus_magic_before_the_length_and_the_type_inside_the_payload) {
    const auto request = "\0\x01\0\0\0\x06\x11\x03\0\x6b\0\x03"sv;
    BOOST_TEST(cut("modbus", request) == whole({{0, 12, 6, 0, 3}}));
    std::string two(request);
    two.append("\0\x02\0\0\0\x02\x11\x83"sv);
    BOOST_TEST(cut("modbus", two) == whole({{0, 12, 6, 0, 3}, {12, 8, 6, 0, 0x83}}));
    BOOST_TEST(cut("modbus", "\0\x01\0\0\0\x06\x11"sv) == more({}));
}

BOOST_AUTO_TEST_CASE(kafka_four_bytes_of_length_and_a_type_behind_them) {
    BOOST_TEST(cut("kafka", "\0\0\0\x0a\0\x12\0\x03\0\0\0\x07\xff\xff\0\0\0\x02\0\x01"sv) ==
               whole({{0, 14, 4, 0, 0x12}, {14, 6, 4, 0, 1}}));
}

BOOST_AUTO_TEST_CASE(mqtt_type_before_a_varint) {
    const std::string connect = "\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0"s;
    BOOST_TEST(cut("mqtt", connect + "\xc0\0"s) == whole({{0, 14, 2, 0, 0x10}, {14, 2, 2, 0, 0xC0}}));
    // 0xAC 0x02: 44 + 2 * 128.
    BOOST_TEST(cut("mqtt", "\x30\xac\x02" + std::string(300, 'x')) == whole({{0, 303, 3, 0, 0x30}}));
}

BOOST_AUTO_TEST_CASE(diameter_three_bytes_count_the_whole_frame) {
    const std::string request = "\x01\0\0\x14\x80\0\x01\x18\0\0\0\0\0\0\0\x01\0\0\0\x02"s;
    BOOST_TEST(cut("diameter", request + request) == whole({{0, 20, 4, 0, 280}, {20, 20, 4, 0, 280}}));
    BOOST_TEST(cut("diameter", "\x01\0\0\x08\0\x0a\x0b\x0c"sv) == whole({{0, 8, 4, 0, 0x0A0B0C}}));
}

BOOST_AUTO_TEST_CASE(jt808_one_byte_at_both_ends) {
    BOOST_TEST(cut("jt808", "\x7e\0\x02\0\0\x01\x7e\x7e\0\x7e"sv) ==
               whole({{0, 7, 1, 1, 0}, {7, 3, 1, 1, 0}}));
    BOOST_TEST(cut("jt808", "\x7e\x7e\x7e") == more({{0, 2, 1, 1, 0}}));
    BOOST_TEST(cut("jt808", "\x7exx\x7ey") == bad({{0, 4, 1, 1, 0}}, FrameFault::magic, 5));
}

BOOST_AUTO_TEST_CASE(mysql_little_endian_with_a_byte_that_is_not_counted) {
    BOOST_TEST(cut("mysql", "\x06\0\0\0\x03query\x01\0\0\x01\x0e"sv) ==
               whole({{0, 10, 3, 0, 3}, {10, 5, 3, 0, 14}}));
}

BOOST_AUTO_TEST_CASE(postgres_the_length_counts_itself_but_not_the_type_before_it) {
    BOOST_TEST(cut("postgres", "Q\0\0\0\x06x\0S\0\0\0\x04"sv) ==
               whole({{0, 7, 5, 0, 'Q'}, {7, 5, 5, 0, 'S'}}));
}

BOOST_AUTO_TEST_CASE(a_length_of_any_size_order_and_count_gives_the_same_frame) {
    for (const unsigned offset : {0u, 1u, 4u}) {
        for (const unsigned bytes : {1u, 2u, 3u, 4u, 8u}) {
            for (const ByteOrder order : {ByteOrder::big, ByteOrder::little}) {
                for (const int adjust : {-200, -1, 0, 2}) {
                    const std::string before(offset, 'x');
                    const auto stream_of = [&](uint64_t counted) {
                        std::string frame = before + number(counted - adjust, bytes, order);
                        frame.resize(20, 'y');
                        return frame + frame;
                    };
                    const auto framing_of = [&](LengthCounts counts) {
                        return test::length_framing("any", offset, bytes, counts, adjust, order);
                    };
                    const unsigned header = offset + bytes;
                    const CutStream expected = whole({{0, 20, header, 0, 0}, {20, 20, header, 0, 0}});
                    BOOST_TEST(cut(framing_of(LengthCounts::payload), stream_of(20 - header)) == expected);
                    BOOST_TEST(cut(framing_of(LengthCounts::from_itself), stream_of(20 - offset)) ==
                               expected);
                    BOOST_TEST(cut(framing_of(LengthCounts::whole_frame), stream_of(20)) == expected);
                }
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(a_varint_may_have_zeros_at_its_end_but_only_5_bytes) {
    BOOST_TEST(cut("mqtt", "\x30\x81\x80\x80\x80\0z"sv) == whole({{0, 7, 6, 0, 0x30}}));
    BOOST_TEST(cut("mqtt", "\x30\xff\xff\xff\xff") == more({}));
    // The 5th byte says that a 6th one follows.
    BOOST_TEST(cut("mqtt", "\x30\xff\xff\xff\xff\x80") == bad({}, FrameFault::length, 6));
    BOOST_TEST(cut("mqtt", "\x30\xff\xff\xff\xff\x7f") == bad({}, FrameFault::too_long, 6));
    BOOST_TEST(cut("varint_whole", "\xab\xcd\x05hello!\xab\xcd\x80\0"sv) ==
               whole({{0, 9, 3, 0, 0}, {9, 4, 4, 0, 0}}));
    BOOST_TEST(cut("varint_whole", "\xab\xcd\x80\x80\0"sv) == bad({}, FrameFault::length, 5));
}

BOOST_AUTO_TEST_CASE(magic_and_type_behind_the_length) {
    const std::string good = "\x0c\0\0\0\x02\x01MSG!ok"s;
    BOOST_TEST(cut("magic_behind", good + good) == whole({{0, 12, 4, 0, 0x102}, {12, 12, 4, 0, 0x102}}));
    BOOST_TEST(cut("magic_behind", "\x0a\0\0\0\0\x01MSG!"sv) == whole({{0, 10, 4, 0, 0x100}}));
    for (size_t at = 6; at < 10; ++at) {
        std::string wrong = good + good;
        wrong[12 + at] = 'x';
        BOOST_TEST(cut("magic_behind", wrong) == bad({{0, 12, 4, 0, 0x102}}, FrameFault::magic, 12 + at + 1));
    }
    BOOST_TEST(cut("varint_itself", "\x09zzzz\0\x01\0\x02\x89\0zzz\x0a\x0b\x0c\x0d"sv) ==
               whole({{0, 9, 1, 0, 0x10002}, {9, 9, 2, 0, 0x0A0B0C0D}}));
}

// The wrong length comes first, whether what is behind it is there already or not.
BOOST_AUTO_TEST_CASE(a_wrong_length_is_found_before_a_wrong_magic_behind_it) {
    BOOST_TEST(cut("magic_behind", "\xff\xff\0\0\0\0xxxx"sv) == bad({}, FrameFault::too_long, 4));
    BOOST_TEST(cut("magic_behind", "\x03\0\0\0\0\0xxxx"sv) == bad({}, FrameFault::length, 4));
    // Too short for its magic; the bytes there would be the next frame's.
    BOOST_TEST(cut("magic_behind", "\x06\0\0\0\0\0xxxx"sv) == bad({}, FrameFault::length, 4));
}

BOOST_AUTO_TEST_CASE(delimiters_that_overlap_themselves) {
    BOOST_TEST(cut("overlapping", "aaab") == whole({{0, 4, 0, 3, 0}}));
    BOOST_TEST(cut("overlapping", "aaabxaabaab") ==
               whole({{0, 4, 0, 3, 0}, {4, 4, 0, 3, 0}, {8, 3, 0, 3, 0}}));
    BOOST_TEST(cut("overlapping", "aaxab") == more({}));
    BOOST_TEST(cut("twice", "abaabab") == whole({{0, 7, 0, 4, 0}}));
    BOOST_TEST(cut("twice", "ababab") == more({{0, 4, 0, 4, 0}}));
    BOOST_TEST(cut("nul", "one\0\0two\0"sv) == whole({{0, 4, 0, 1, 0}, {4, 1, 0, 1, 0}, {5, 4, 0, 1, 0}}));
    BOOST_TEST(cut("both_overlapping", "aabaaabaabaab") == whole({{0, 7, 3, 3, 0}, {7, 6, 3, 3, 0}}));
    // No byte of the opening one is part of the closing one.
    BOOST_TEST(cut("both_overlapping", "aabab") == more({}));
}

BOOST_AUTO_TEST_CASE(fixed_frames) {
    BOOST_TEST(cut("fixed", "seven77another") == whole({{0, 7, 0, 0, 0}, {7, 7, 0, 0, 0}}));
    BOOST_TEST(cut("fixed", "seven77an") == more({{0, 7, 0, 0, 0}}));
}

BOOST_AUTO_TEST_CASE(lines_end_with_lf_or_cr_lf_and_may_be_empty) {
    BOOST_TEST(cut("line", "one\r\n\n\r\ntwo\n") ==
               whole({{0, 5, 0, 2, 0}, {5, 1, 0, 1, 0}, {6, 2, 0, 2, 0}, {8, 4, 0, 1, 0}}));
    // A CR anywhere else is a byte like any other; the line before does not count for this one.
    BOOST_TEST(cut("line", "a\rb\r\r\n\nx\r") == more({{0, 6, 0, 2, 0}, {6, 1, 0, 1, 0}}));
}

BOOST_AUTO_TEST_CASE(frames_of_tcpd) {
    const std::string data = "\xca\xfe\xba\xbe\x01\0\x07\0\0\0\x03xyz"s;
    const std::string empty = "\xca\xfe\xba\xbe\x01\xf0\x01\0\0\0\0"s;
    BOOST_TEST(cut("tcpd", data + empty) == whole({{0, 14, 11, 0, 7}, {14, 11, 11, 0, 0xF001}}));
    BOOST_TEST(cut("tcpd", data.substr(0, 13)) == more({}));
    for (size_t at = 0; at < 4; ++at) {
        std::string wrong = empty + data;
        wrong[11 + at] = 'x';
        BOOST_TEST(cut("tcpd", wrong) == bad({{0, 11, 11, 0, 0xF001}}, FrameFault::magic, 11 + at + 1));
    }
    BOOST_TEST(cut("tcpd", "\xca\xfe\xba\xbe\x02") == bad({}, FrameFault::version, 5));
    BOOST_TEST(cut("tcpd", "\xca\xfe\xba\xbe\0"sv) == bad({}, FrameFault::version, 5));
}

BOOST_AUTO_TEST_CASE(control_frames_of_tcpd_have_a_limit_of_their_own) {
    for (const uint64_t max_frame : {1u, 300u, 1024u * 1024}) {
        const conf::Framing config = test::built_in_framing("tcpd", max_frame);
        for (const uint64_t type : {0xF000u, 0xFFFFu}) {
            const std::string begin = "\xca\xfe\xba\xbe\x01" + number(type, 2, ByteOrder::big);
            const auto at_most = begin + number(4096, 4, ByteOrder::big) + std::string(4096, 'x');
            BOOST_TEST(cut(config, at_most) == whole({{0, 4107, 11, 0, static_cast<uint32_t>(type)}}));
            BOOST_TEST(cut(config, begin + number(4097, 4, ByteOrder::big)) ==
                       bad({}, FrameFault::too_long, 11));
        }
        const std::string begin = "\xca\xfe\xba\xbe\x01\xef\xff";
        BOOST_TEST(cut(config, begin + number(max_frame, 4, ByteOrder::big)) == more({}));
        BOOST_TEST(cut(config, begin + number(max_frame + 1, 4, ByteOrder::big)) ==
                   bad({}, FrameFault::too_long, 11));
    }
}

BOOST_AUTO_TEST_CASE(another_byte_than_the_magic_one_is_found_where_it_is) {
    BOOST_TEST(cut("modbus", "zz\x01") == bad({}, FrameFault::magic, 3));
    BOOST_TEST(cut("modbus", "zz\0\x01\0\x06"sv) == bad({}, FrameFault::magic, 4));
    BOOST_TEST(cut("varint_whole", "x") == bad({}, FrameFault::magic, 1));
    BOOST_TEST(cut("varint_whole", "\xab\xce\x05") == bad({}, FrameFault::magic, 2));
    BOOST_TEST(cut("both_overlapping", "xab") == bad({}, FrameFault::magic, 1));
    BOOST_TEST(cut("both_overlapping", "aabaabaxb") == bad({{0, 6, 3, 3, 0}}, FrameFault::magic, 8));
    BOOST_TEST(cut("both_overlapping", "aaa") == bad({}, FrameFault::magic, 3));
}

BOOST_AUTO_TEST_CASE(a_length_less_than_the_header_or_too_short_for_the_type) {
    BOOST_TEST(cut("diameter", "\x01\0\0\x03"sv) == bad({}, FrameFault::length, 4));
    BOOST_TEST(cut("diameter", "\x01\0\0\x07zzzzzzzz"sv) == bad({}, FrameFault::length, 4));
    BOOST_TEST(cut("postgres", "Q\0\0\0\x03"sv) == bad({}, FrameFault::length, 5));
    BOOST_TEST(cut("modbus", "\0\x01\0\0\0\x01"sv) == bad({}, FrameFault::length, 6));
    BOOST_TEST(cut("mysql", "\0\0\0\0\x03"sv) == bad({}, FrameFault::length, 3));
    BOOST_TEST(cut("varint_itself", "\0"sv) == bad({}, FrameFault::length, 1));
    BOOST_TEST(cut("varint_itself", "\x08zzzzzzzzz") == bad({}, FrameFault::length, 1));
    BOOST_TEST(cut("one_byte", "zzzz\0zzzzz\0z"sv) == whole({{0, 6, 5, 0, 0}, {6, 6, 5, 0, 0}}));
    BOOST_TEST(cut("eight_little", "\x01\0\0\0\x0b\0\0\0\0\0\0\0"sv) == whole({{0, 12, 12, 0, 1}}));
    BOOST_TEST(cut("eight_little", "\x01\0\0\0\x0a\0\0\0\0\0\0\0"sv) == bad({}, FrameFault::length, 12));
    BOOST_TEST(cut("eight_whole", "\0\0\0\0\0\0\0\x0d"sv) == whole({{0, 8, 8, 0, 0}}));
    BOOST_TEST(cut("eight_whole", "\0\0\0\0\0\0\0\x0c"sv) == bad({}, FrameFault::length, 8));
    BOOST_TEST(cut("eight_whole", "\0\0\0\0\0\0\0\0"sv) == bad({}, FrameFault::length, 8));
}

BOOST_AUTO_TEST_CASE(too_long_is_one_more_than_max_frame_and_found_with_the_length) {
    const std::string payload(300, 'x');
    BOOST_TEST(cut("kafka", "\0\0\x01\x2c"s + payload) == whole({{0, 304, 4, 0, 0x7878}}));
    BOOST_TEST(cut("kafka", "\0\0\x01\x2d"sv) == bad({}, FrameFault::too_long, 4));
    BOOST_TEST(cut("mqtt", "\x30\xac\x02" + payload) == whole({{0, 303, 3, 0, 0x30}}));
    BOOST_TEST(cut("mqtt", "\x30\xad\x02") == bad({}, FrameFault::too_long, 3));
    BOOST_TEST(cut("postgres", "Q\0\0\x01\x30"s + payload) == whole({{0, 305, 5, 0, 'Q'}}));
    BOOST_TEST(cut("postgres", "Q\0\0\x01\x31"sv) == bad({}, FrameFault::too_long, 5));
    BOOST_TEST(cut("diameter", "\x01\0\x01\x30"s + payload) == whole({{0, 304, 4, 0, 0x787878}}));
    BOOST_TEST(cut("diameter", "\x01\0\x01\x31"sv) == bad({}, FrameFault::too_long, 4));
    // What the length is adjusted by is counted.
    BOOST_TEST(cut("mysql", "\x2b\x01\0"s + payload) == whole({{0, 303, 3, 0, 'x'}}));
    BOOST_TEST(cut("mysql", "\x2c\x01\0"sv) == bad({}, FrameFault::too_long, 3));
    // Values with which a careless sum overflows.
    for (const char first : {'\x3f', '\x40', '\x7f', '\x80', '\xff'}) {
        for (const char other : {'\0', '\xff'}) {
            const std::string length = first + std::string(7, other);
            BOOST_TEST(cut("eight_whole", length) == bad({}, FrameFault::too_long, 8));
            BOOST_TEST(cut("eight_little", "\x01zzz" + std::string(length.rbegin(), length.rend())) ==
                       bad({}, FrameFault::too_long, 12));
        }
    }
}

BOOST_AUTO_TEST_CASE(without_a_length_too_long_is_found_as_soon_as_the_end_can_no_more_come) {
    const std::string payload(40, 'x');
    BOOST_TEST(cut("line", payload + '\n') == whole({{0, 41, 0, 1, 0}}));
    BOOST_TEST(cut("line", payload + "\r\n") == whole({{0, 42, 0, 2, 0}}));
    BOOST_TEST(cut("line", payload + '\r') == more({}));
    BOOST_TEST(cut("line", payload + "\r\r\n") == bad({}, FrameFault::too_long, 41));
    BOOST_TEST(cut("line", "\n" + payload + "y") == bad({{0, 1, 0, 1, 0}}, FrameFault::too_long, 42));
    BOOST_TEST(cut("nul", payload + '\0') == whole({{0, 41, 0, 1, 0}}));
    BOOST_TEST(cut("nul", payload + 'y') == bad({}, FrameFault::too_long, 41));
    BOOST_TEST(cut("overlapping", payload + "aa") == more({}));
    BOOST_TEST(cut("overlapping", payload + "aab") == whole({{0, 43, 0, 3, 0}}));
    BOOST_TEST(cut("overlapping", payload + "aaab") == bad({}, FrameFault::too_long, 41));
    BOOST_TEST(cut("jt808", "\x7e" + payload + "\x7e") == whole({{0, 42, 1, 1, 0}}));
    BOOST_TEST(cut("jt808", "\x7e" + payload + "y\x7e") == bad({}, FrameFault::too_long, 42));
}

BOOST_AUTO_TEST_CASE(raw_is_cut_where_the_pieces_are) {
    const Framing raw(*conf::find_built_in_framing("raw"));
    BOOST_TEST(cut_stream(raw, {"one", "\n", "three"}) ==
               whole({{0, 3, 0, 0, 0}, {3, 1, 0, 0, 0}, {4, 5, 0, 0, 0}}));
}

BOOST_AUTO_TEST_CASE(what_is_known_of_a_frame_before_it_is_whole) {
    const Framing framing(test::framing_named("kafka"));
    FrameProgress progress;
    BOOST_CHECK(framing.feed(progress, "", "\0\0\0"sv) == FrameStep::more);
    BOOST_TEST(!progress.is_header_known);
    BOOST_TEST(progress.seen_bytes == 3u);
    BOOST_CHECK(framing.feed(progress, "\0\0\0"sv, "\x05\0\x12"sv) == FrameStep::more);
    BOOST_TEST(progress.is_header_known);
    BOOST_TEST(progress.type == 0x12u);
    BOOST_TEST(progress.total_bytes == 9u);
    BOOST_TEST(progress.payload_bytes() == 5u);
    BOOST_CHECK(framing.feed(progress, "", "xyz and the next") == FrameStep::whole);
    BOOST_TEST(progress.seen_bytes == 9u);
}

BOOST_AUTO_TEST_CASE(what_is_built_in) {
    BOOST_TEST(conf::find_built_in_framing("nothing") == nullptr);
    BOOST_TEST(conf::find_built_in_framing("") == nullptr);
    BOOST_TEST(Framing(*conf::find_built_in_framing("tcpd")).has_type());
    BOOST_TEST(!Framing(*conf::find_built_in_framing("line")).has_type());
    BOOST_TEST(Framing(test::framing_named("mqtt")).has_type());
    BOOST_TEST(!Framing(test::framing_named("dns")).has_type());
    BOOST_TEST(name_of(FrameFault::magic) == "bad magic");
    BOOST_TEST(name_of(FrameFault::too_long) == "too long");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
