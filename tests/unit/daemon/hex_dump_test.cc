// Hex dumps as tools print them, all of the same bytes; and what is none.

#include "daemon/hex_dump.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd;
using namespace std::string_literals;
using Is = HexDump::Is;

namespace {

const std::string kShort = "\x78\x78\x0d\x01\0\0\0\0\0\0\0\x01\x04\xab\x05\xad\x0d\x0a"s;

struct Sample {
    const char* tool;
    std::string text;
};

const Sample kSamples[] = {
    {"plain",
     "78780d010000000000000001"
     "04ab05ad0d0a\n"},
    {"pairs", "78 78 0d 01 00 00 00 00 00 00 00 01 04 ab 05 ad 0D 0A"},
    {"xxd -p of two lines", "78780d0100000000\n0000000104ab05ad0d0a\n"},
    {"groups", "7878 0d01 0000 0000 0000 0001 04ab 05ad 0d0a"},
    {"xxd",
     "00000000: 7878 0d01 0000 0000 0000 0001 04ab 05ad  xx..............\n"
     "00000010: 0d0a                                     ..\n"},
    {"xxd -c 4 -g 1",
     "00000000: 78 78 0d 01  xx..\n00000004: 00 00 00 00  ....\n00000008: 00 00 00 01  ....\n"
     "0000000c: 04 ab 05 ad  ....\n00000010: 0d 0a        ..\n"},
    {"hexdump -C",
     "00000000  78 78 0d 01 00 00 00 00  00 00 00 01 04 ab 05 ad  |xx..............|\n"
     "00000010  0d 0a                                             |..|\n00000012\n"},
    {"hexdump",
     "0000000 7878 010d 0000 0000 0000 0100 ab04 ad05\n0000010 0a0d                                   \n"
     "0000012\n"},
    {"od -A x -t x1", "000000 78 78 0d 01 00 00 00 00 00 00 00 01 04 ab 05 ad\n000010 0d 0a\n000012\n"},
    {"od -t x1", "0000000 78 78 0d 01 00 00 00 00 00 00 00 01 04 ab 05 ad\n0000020 0d 0a\n0000022\n"},
    {"od -A d -t x1z",
     "0000000 78 78 0d 01 00 00 00 00 00 00 00 01 04 ab 05 ad  >xx..............<\n"
     "0000016 0d 0a                                            >..<\n0000018\n"},
    {"od -x", "0000000 7878 010d 0000 0000 0000 0100 ab04 ad05\n0000020 0a0d\n0000022\n"},
    {"Wireshark, copy as hex dump", "0000   78 78 0d 01 00 00 00 00 00 00 00 01 04 ab 05 ad\n0010   0d 0a\n"},
    {"Wireshark, follow as hex dump",
     "00000000  78 78 0d 01 00 00 00 00  00 00 00 01 04 ab 05 ad   xx...... ........\n"
     "00000010  0d 0a                                              ..\n"},
    {"the same, of the other direction",
     "    00000000  78 78 0d 01 00 00 00 00  00 00 00 01 04 ab 05 ad   xx...... ........\n"
     "    00000010  0d 0a                                              ..\n"},
    {"tcpdump -X",
     "\t0x0000:  7878 0d01 0000 0000 0000 0001 04ab 05ad  xx..............\n\t0x0010:  0d0a                 "
     "                    ..\n"},
    {"tcpdump -x", "\t0x0000:  7878 0d01 0000 0000 0000 0001 04ab 05ad\n\t0x0010:  0d0a\n"},
    {"0x words", "0x78 0x78 0x0d 0x01 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x01 0x04 0xab 0x05 0xad 0x0d 0x0a"},
    {"C",
     "unsigned char frame[] = { /* Frame (18 bytes) */\n0x78, 0x78, 0x0d, 0x01, 0x00, 0x00, 0x00, 0x00,\n"
     "0x00, 0x00, 0x00, 0x01, 0x04, 0xab, 0x05, 0xad, 0xd, 0xa };\n"},
    {"Go",
     "[]byte{0x78, 0x78, 0xd, 0x1, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x1, 0x4, 0xab, 0x5, 0xad, 0xd, 0xa}"},
    {"colons", "78:78:0d:01:00:00:00:00:00:00:00:01:04:ab:05:ad:0d:0a"},
    {"dashes", "78-78-0D-01-00-00-00-00-00-00-00-01-04-AB-05-AD-0D-0A"},
    {"Node.js", "<Buffer 78 78 0d 01 00 00 00 00 00 00 00 01 04 ab 05 ad 0d 0a>"},
    {"JavaScript", "[120,120,13,1,0,0,0,0,0,0,0,1,4,171,5,173,13,10]"},
    {"Java", "[120, 120, 13, 1, 0, 0, 0, 0, 0, 0, 0, 1, 4, -85, 5, -83, 13, 10]"},
    {"Go, decimal", "[120 120 13 1 0 0 0 0 0 0 0 1 4 171 5 173 13 10]"},
    {"Erlang", "<<120,120,13,1,0,0,0,0,0,0,0,1,4,171,5,173,13,10>>"},
    {"Python", "b'xx\\r\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x04\\xab\\x05\\xad\\r\\n'"},
    {"escapes", "\\x78\\x78\\x0d\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x04\\xab\\x05\\xad\\x0d\\x0a"},
    {"PostgreSQL", "\\x78780d01000000000000000104ab05ad0d0a"},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(daemon_hex_dump)

void check_is_short(const std::string& tool, const std::string& text) {
    const HexDump dump = read_hex_dump(text);
    BOOST_TEST((dump.is == Is::certain), tool << ": " << dump.problem);
    BOOST_TEST((dump.bytes == kShort), tool);
}

BOOST_AUTO_TEST_CASE(as_tools_print_it) {
    for (const Sample& sample : kSamples) {
        check_is_short(sample.tool, sample.text);
        std::string windows = "\n";
        for (const char c : sample.text) {
            if (c == '\n') windows += '\r';
            windows += c;
        }
        check_is_short(sample.tool, windows + "\r\n\r\n");
    }
}

void check_bytes(const std::string& text, const std::string& expected) {
    const HexDump dump = read_hex_dump(text);
    BOOST_TEST((dump.bytes == expected), text << dump.problem);
}

// A column of text that looks like bytes is none.
BOOST_AUTO_TEST_CASE(columns_of_text) {
    check_bytes("00000000: 6162 6364  abcd\n00000004: 6162       ab\n", "abcdab");
    check_bytes(
        "00000000  61 62 63 64 65 66 20 61  62 20 63 64 20 65 66 61   abcdef a b cd efa\n"
        "00000010  61 62                                              ab\n",
        "abcdef ab cd efaab");
    check_bytes("0000   61 62 20 63 64   ab cd\n", "ab cd");
    check_bytes("00000000  61 7c 62 7c                                       |a|b||\n00000004\n", "a|b|");
}

BOOST_AUTO_TEST_CASE(repeated_lines) {
    const std::string zeros(64, '\0');
    check_bytes(
        "00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n*\n00000040\n",
        zeros);
    check_bytes("0000000 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n*\n0000060 01\n0000061\n",
                zeros.substr(16) + "\x01");
    const HexDump endless = read_hex_dump("00000000  00 00 00 00\n*\nfffffffffff0 01\n");
    BOOST_TEST((endless.is == Is::none));
    BOOST_TEST(endless.problem.find("line 2") != std::string::npos, endless.problem);
}

// From the middle of a stream, where the offsets begin with another number.
BOOST_AUTO_TEST_CASE(a_part) {
    check_bytes("00000010  0d 0a                                             |..|\n", "\r\n");
    check_bytes("00000010: 0d0a 0d0a  ....\n00000014: 61  a\n", "\r\n\r\na");
}

BOOST_AUTO_TEST_CASE(digits_may_be_text) {
    for (const char* text : {"1234\n5678\n", "00", "12345678", "10 20\n", "2024 1201\n"})
        BOOST_TEST((read_hex_dump(text).is == Is::maybe), text);
    BOOST_TEST((read_hex_dump("00 01 00 00 00 06\n").is == Is::certain));
}

BOOST_AUTO_TEST_CASE(text_and_bytes_are_no_dump) {
    for (const std::string raw :
         {"hello\n", "6865 6c6", "68 65 xx", "\xCA\xFE", "", " \n", "GET / HTTP/1.1\r\n\r\n", "[1, 2, 300]",
          "12:30:45.5 up\n", "{\"a\": [1, 2]}", "a\\x41 not quoted", "7", "0x"})
        BOOST_TEST((read_hex_dump(raw).is == Is::none), raw);
}

BOOST_AUTO_TEST_CASE(what_can_not_be_read_says_why) {
    const auto problem = [](const std::string& text) { return read_hex_dump(text).problem; };
    BOOST_TEST(problem("00000000: 6162 6364  abcd\n00000008: 6162  ab\n") ==
               "line 1: its bytes are not as many as the next offset says");
    BOOST_TEST(problem("00000000  61 62 63 64   abcd\n00000000  61 62   ab\n") ==
               "line 2: its offset does not go on from the line before");
    BOOST_TEST(problem("00000000  61 62 63 64   abcd\n    00000000  61 62   ab\n00000004  61\n")
                   .starts_with("both directions of a connection are in it"));
    BOOST_TEST(problem("<Buffer 78 78 ... 2 more bytes>").starts_with("Node.js shows the first 50 bytes"));
    BOOST_TEST(problem("00000000  61 62 63 64   abcd\nnot a line\n") ==
               "line 2: there is no offset at its begin");
}

BOOST_AUTO_TEST_SUITE_END()
