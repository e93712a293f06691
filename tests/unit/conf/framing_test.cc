// Framings as they are declared: what is taken, what is said of a mistake, and that -T reads back as the
// same.

#include <boost/test/unit_test.hpp>

#include "tests/unit/conf/loading.h"

using namespace tcpd;
using namespace tcpd::conf;
using namespace tcpd::conf::test;

namespace {

std::string with_framing(const std::string& keys) {
    return with_listener(kFine, "framings: {f: {" + keys + "}}\n");
}

Framing framing_of(const std::string& keys) {
    const Loaded loaded = load_text(with_framing(keys));
    BOOST_REQUIRE_EQUAL(problems_of(loaded), "");
    BOOST_REQUIRE_EQUAL(loaded.config.framings.size(), 1U);
    const Loaded again = load_text(dump(loaded.config));
    BOOST_REQUIRE_EQUAL(problems_of(again), "");
    BOOST_CHECK(again.config.framings == loaded.config.framings);
    return loaded.config.framings[0];
}

std::string complaints(const std::string& keys) { return complaints_in(with_framing(keys)); }

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_framing)

BOOST_AUTO_TEST_CASE(lengths) {
    const Framing dns = framing_of("length: {offset: 0, size: 2}, max_frame: 65535B");
    BOOST_CHECK(dns.kind == FramingKind::length && dns.length_bytes == 2U && !dns.length_is_varint);
    BOOST_CHECK_EQUAL(dns.max_frame_bytes, 65535U);
    const Framing legacy = framing_of(
        "magic: {offset: 0, bytes: \"7E7E\"}, type: {offset: 2, size: 2, order: little}, "
        "length: {offset: 4, size: 2, order: little, counts: payload, adjust: 2}");
    BOOST_CHECK_EQUAL(legacy.magic, "~~");
    BOOST_CHECK(legacy.type_offset == 2 && legacy.type_bytes == 2 && legacy.type_order == ByteOrder::little);
    BOOST_CHECK(legacy.length_order == ByteOrder::little && legacy.length_adjust == 2);
    const Framing mqtt = framing_of("length: {offset: 1, encoding: varint}, max_frame: 256MiB");
    BOOST_CHECK(mqtt.length_is_varint && !mqtt.length_bytes);
    const Framing diameter = framing_of("length: {offset: 1, size: 3, counts: whole_frame, adjust: -4}");
    BOOST_CHECK(diameter.length_counts == LengthCounts::whole_frame && diameter.length_adjust == -4);
}

BOOST_AUTO_TEST_CASE(others) {
    const Framing jt808 = framing_of("delimiter: 7e, both_ends: true");
    BOOST_CHECK(jt808.kind == FramingKind::delimiter && jt808.delimiter == "~" && jt808.both_ends);
    BOOST_CHECK_EQUAL(framing_of("delimiter: \"0D 0A\"").delimiter, "\r\n");
    const Framing block = framing_of("fixed: 64B");
    BOOST_CHECK(block.kind == FramingKind::fixed && block.fixed_bytes == 64);
}

BOOST_AUTO_TEST_CASE(one_way_of_cutting) {
    BOOST_TEST(complaints("max_frame: 1KiB") ==
               "framings.f: does not say how frames are cut (give it length, delimiter or fixed)");
    BOOST_TEST(complaints("fixed: 4B, delimiter: \"00\"") ==
               "framings.f: says more than once how frames are cut (one of length, delimiter, fixed)");
    BOOST_TEST(complaints("delimiter: \"00\", magic: {bytes: AB}") ==
               "framings.f.magic: goes with length only");
    BOOST_TEST(complaints("fixed: 4B, type: {size: 1}") == "framings.f.type: goes with length only");
    BOOST_TEST(complaints("fixed: 4B, both_ends: true") == "framings.f.both_ends: goes with delimiter only");
}

BOOST_AUTO_TEST_CASE(lengths_that_make_no_sense) {
    BOOST_TEST(complaints("length: {offset: 0}") ==
               "framings.f.length.size: is missing (1, 2, 3, 4 or 8; or encoding: varint)");
    BOOST_TEST(complaints("length: {size: 5}") ==
               "framings.f.length.size: \"5\" is not a size of a length (1, 2, 3, 4 or 8)");
    BOOST_TEST(complaints("length: {size: 2, encoding: varint}") ==
               "framings.f.length.size: does not go with encoding: varint");
    BOOST_TEST(complaints("length: {order: little, encoding: varint}") ==
               "framings.f.length.order: does not go with encoding: varint");
    BOOST_TEST(complaints("length: {offset: 49, size: 2}") ==
               "framings.f.length.offset: \"49\" is out of range (0 to 48)");
    BOOST_TEST(complaints("length: {size: 2, adjust: -1000001}") ==
               "framings.f.length.adjust: \"-1000001\" is out of range (-1000000 to 1000000)");
    BOOST_TEST(complaints("length: {size: 2, adjust: two}") ==
               "framings.f.length.adjust: \"two\" is not a whole number (-1000000 to 1000000)");
    BOOST_TEST(
        complaints("length: {size: 2, counts: itself}") ==
        "framings.f.length.counts: \"itself\" is not known (known: payload, from_itself, whole_frame)");
}

BOOST_AUTO_TEST_CASE(fields_do_not_overlap) {
    BOOST_TEST(complaints("length: {offset: 1, size: 2}, magic: {offset: 0, bytes: AABB}") ==
               "framings.f.magic: overlaps the length");
    BOOST_TEST(complaints("length: {offset: 0, size: 4}, type: {offset: 3, size: 2}") ==
               "framings.f.type: overlaps the length");
    BOOST_TEST(complaints("length: {offset: 4, size: 4}, magic: {bytes: AABB}, type: {offset: 1, size: 2}") ==
               "framings.f.type: overlaps the magic number");
    BOOST_TEST(complaints("length: {offset: 0, encoding: varint}, type: {offset: 6, size: 1}") ==
               "framings.f.type: overlaps the length, or stands behind a varint, which has no fixed end");
    BOOST_TEST(complaints("length: {offset: 2, size: 2}, magic: {bytes: AABB}, type: {offset: 4, size: 2}") ==
               "");
}

BOOST_AUTO_TEST_CASE(bytes_in_hexadecimal) {
    for (const std::string bad : {"7", "7G", "0x7E", "\"\"", "7E-7E"})
        BOOST_TEST(complaints("delimiter: " + bad).find("is not bytes in hexadecimal") != std::string::npos,
                   bad);
    BOOST_TEST(complaints("delimiter: 0102030405060708090A0B0C0D0E0F1011") ==
               "framings.f.delimiter: \"0102030405060708090A0B0C0D0E0F1011\" is 17 bytes (at most 16)");
    BOOST_TEST(complaints("length: {size: 2}, magic: {offset: 0}") ==
               "framings.f.magic.bytes: is missing (such as \"7E7E\")");
}

BOOST_AUTO_TEST_CASE(sizes_and_names) {
    BOOST_TEST(complaints("fixed: 2MiB") == "framings.f.fixed: is above max_frame (1MiB)");
    BOOST_TEST(complaints("fixed: 0") == "framings.f.fixed: \"0\" is out of range (1B to 1GiB)");
    BOOST_TEST(problems_in(with_listener(kFine, "framings: {tcpd: {fixed: 4B}}\n")) ==
               "tcpd.yaml:2:12: framings.tcpd: is built in (take another name)\n");
}

BOOST_AUTO_TEST_CASE(an_included_file_may_declare_them) {
    const Loaded loaded =
        load_snapshot(snapshot_of({{"tcpd.yaml", "include: more.yaml\n" + with_listener(kFine)},
                                   {"more.yaml", "framings: {f: {fixed: 4B}}\n"}}));
    BOOST_TEST(problems_of(loaded) == "");
    BOOST_TEST(loaded.config.framings.size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
