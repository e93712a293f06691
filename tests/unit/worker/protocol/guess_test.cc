#include "worker/protocol/guess.h"

#include <boost/test/unit_test.hpp>
#include <string_view>

namespace tcpd::worker {

using namespace std::string_view_literals;

BOOST_AUTO_TEST_SUITE(protocol_guess)

BOOST_AUTO_TEST_CASE(what_begins_like_a_known_protocol_is_called_so) {
    BOOST_TEST(guess_protocol("GET / HTTP/1.1\r\n") == "HTTP");
    BOOST_TEST(guess_protocol("OPTIONS * HTTP/1.1") == "HTTP");
    BOOST_TEST(guess_protocol("HTTP/1.1 400 Bad Request") == "an HTTP response");
    BOOST_TEST(guess_protocol("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == "HTTP/2");
    BOOST_TEST(guess_protocol("\x16\x03\x01\x02\x00\x01"sv) == "TLS");
    BOOST_TEST(guess_protocol("SSH-2.0-OpenSSH_9.2p1\r\n") == "SSH");
    BOOST_TEST(guess_protocol("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n") == "the PROXY protocol, version 1");
    BOOST_TEST(guess_protocol("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"sv) == "the PROXY protocol, version 2");
    BOOST_TEST(guess_protocol("\xca\xfe\xba\xbe\x01\0\x07\0\0\0\0"sv) == "the tcpd protocol");
    BOOST_TEST(guess_protocol("*1\r\n$4\r\nPING\r\n") == "Redis");
    BOOST_TEST(guess_protocol("\0\0\0\x08\x04\xd2\x16\x2f"sv) == "PostgreSQL, asking for TLS");
}

BOOST_AUTO_TEST_CASE(other_text_is_text_and_anything_else_nothing) {
    BOOST_TEST(guess_protocol("hello\tworld\r\n") == "text");
    BOOST_TEST(guess_protocol("GET") == "text");  // the blank is missing
    BOOST_TEST(guess_protocol("get / http") == "text");
    BOOST_TEST(guess_protocol("hello\0"sv).empty());
    BOOST_TEST(guess_protocol("hello\x7f").empty());
    BOOST_TEST(guess_protocol("gr\xc3\xbc\xc3\x9f").empty());
    BOOST_TEST(guess_protocol("\x16").empty());
    BOOST_TEST(guess_protocol("\r\n\r\n\0\r\nQUIT"sv).empty());
    BOOST_TEST(guess_protocol("").empty());
}

BOOST_AUTO_TEST_CASE(the_first_16_bytes_are_shown_with_the_guess_behind_them) {
    BOOST_TEST(describe_first_bytes("Hello") == "48 65 6c 6c 6f (looks like text)");
    BOOST_TEST(describe_first_bytes("\0\xff\x80"sv) == "00 ff 80");
    BOOST_TEST(describe_first_bytes("GET /a-longer-path HTTP/1.1") ==
               "47 45 54 20 2f 61 2d 6c 6f 6e 67 65 72 2d 70 61 (looks like HTTP)");
    BOOST_TEST(describe_first_bytes("").empty());
}

BOOST_AUTO_TEST_CASE(bytes_behind_the_first_16_do_not_count_for_what_is_described) {
    BOOST_TEST(describe_first_bytes("0123456789abcdef\0"sv) ==
               "30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 (looks like text)");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
