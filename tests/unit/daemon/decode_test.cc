// `tcpd --decode`: dumps that are read, frames that are shown, and what is said where a stream breaks.

#include "daemon/decode.h"

#include <boost/test/unit_test.hpp>

#include "worker/protocol/framing.h"

using namespace tcpd;
using namespace std::string_literals;

namespace {

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

conf::Framing with_length(unsigned offset, unsigned bytes) {
    conf::Framing framing{.name = "f", .kind = conf::FramingKind::length};
    framing.length_offset = offset;
    framing.length_bytes = bytes;
    return framing;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(daemon_decode)

BOOST_AUTO_TEST_CASE(frames) {
    const conf::Framing& tcpd_frames = *conf::find_built_in_framing("tcpd");
    const Decoded two = decode_frames(tcpd_frames,
                                      "\xCA\xFE\xBA\xBE\x01\x00\x02\x00\x00\x00\x02hi"
                                      "\xCA\xFE\xBA\xBE\x01\xF0\x03\x00\x00\x00\x00"s);
    BOOST_TEST(two.is_whole);
    BOOST_TEST(two.text ==
               "0        type 0x0002  length 2      68 69  |hi|\n"
               "13       type 0xF003  length 0      empty\n"
               "2 frames, 24 of 24 bytes\n");
    const Decoded lines = decode_frames(*conf::find_built_in_framing("line"), "a\r\nbc\nd");
    BOOST_TEST(!lines.is_whole);
    BOOST_TEST(lines.text ==
               "0        length 1      61  |a|\n"
               "3        length 2      62 63  |bc|\n"
               "6        incomplete: 1 bytes: 64  |d|\n"
               "2 frames, 6 of 7 bytes\n");
}

BOOST_AUTO_TEST_CASE(where_it_breaks) {
    const Decoded http = decode_frames(*conf::find_built_in_framing("tcpd"), "GET / HTTP/1.1\r\n");
    BOOST_TEST(!http.is_whole);
    BOOST_TEST(mentions(http.text, "0        bad magic: 0x47 at 0 where 0xCA belongs\n"), http.text);
    BOOST_TEST(mentions(http.text, "47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a (looks like HTTP)"),
               http.text);
    conf::Framing small = with_length(0, 2);
    small.max_frame_bytes = 4;
    BOOST_TEST(mentions(decode_frames(small, "\0\x05hello"s).text, "too long: 0x05 at 1, max_frame is 4B\n"));
    const Decoded incomplete = decode_frames(with_length(0, 2), "\0\x09hello"s);
    BOOST_TEST(mentions(incomplete.text, "0        incomplete: 7 of 11 bytes: "), incomplete.text);
}

BOOST_AUTO_TEST_CASE(whether_the_length_counts_itself) {
    const std::string counts_all =
        "\0\x06"
        "abcd"
        "\0\x03"
        "e"s;
    const Decoded decoded = decode_frames(with_length(0, 2), counts_all);
    BOOST_TEST(!decoded.is_whole);
    BOOST_TEST(mentions(decoded.text, "all of it fits with length: {counts: whole_frame, order: big}\n"),
               decoded.text);
    const Decoded little = decode_frames(with_length(0, 2), "\x02\0hi"s);
    BOOST_TEST(mentions(little.text, "{counts: payload, order: little}"), little.text);
}

BOOST_AUTO_TEST_SUITE_END()
