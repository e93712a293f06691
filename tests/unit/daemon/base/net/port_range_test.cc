#include "daemon/base/net/port_range.h"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace tcpd;

namespace {

std::vector<std::string> each(const std::string& text) {
    std::vector<std::string> texts;
    const auto addresses = parse_listen_range(text);
    BOOST_REQUIRE_MESSAGE(addresses, text);
    for (const Address& address : *addresses) texts.push_back(address.text());
    return texts;
}

std::string complaint(const std::string& text) {
    const auto addresses = parse_listen_range(text);
    return addresses ? "none" : addresses.error().reason;
}

std::string joined(const std::vector<std::string>& texts) {
    std::string all;
    for (const std::string& text : texts) all += (all.empty() ? "" : " ") + text;
    return all;
}

// As -T prints it.
std::string said(const std::vector<std::string>& listened) {
    std::vector<Address> all;
    for (const std::string& text : listened) {
        const auto addresses = parse_listen_range(text);
        BOOST_REQUIRE_MESSAGE(addresses, text);
        all.insert(all.end(), addresses->begin(), addresses->end());
    }
    const std::vector<std::string> texts = listen_texts(all);
    std::vector<Address> again;
    for (const std::string& text : texts) {
        const auto addresses = parse_listen_range(text);
        BOOST_REQUIRE_MESSAGE(addresses, text);
        again.insert(again.end(), addresses->begin(), addresses->end());
    }
    BOOST_TEST((again == all));
    return joined(texts);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(port_range)

BOOST_AUTO_TEST_CASE(a_range_is_an_address_for_each_port) {
    BOOST_TEST(joined(each("127.0.0.1:5000-5002")) == "127.0.0.1:5000 127.0.0.1:5001 127.0.0.1:5002");
    BOOST_TEST(joined(each("[::1]:5000-5001")) == "[::1]:5000 [::1]:5001");
    BOOST_TEST(joined(each("*:5000-5001")) == "0.0.0.0:5000 [::]:5000 0.0.0.0:5001 [::]:5001");
    BOOST_TEST(joined(each("127.0.0.1:5000-5000")) == "127.0.0.1:5000");
    BOOST_TEST(joined(each("127.0.0.1:65534-65535")) == "127.0.0.1:65534 127.0.0.1:65535");
    BOOST_TEST(each("127.0.0.1:1-1024").size() == 1024U);
    const auto stars = parse_listen_range("*:5000-5001");
    for (const Address& address : *stars) BOOST_TEST(address.is_of_star());
}

BOOST_AUTO_TEST_CASE(what_is_no_range_is_read_as_ever) {
    BOOST_TEST(joined(each("127.0.0.1:0")) == "127.0.0.1:0");
    BOOST_TEST(joined(each("unix:/run/x:1-2")) == "unix:/run/x:1-2");
    BOOST_TEST(joined(each("systemd:a-b")) == "systemd:a-b");
    BOOST_TEST(complaint("my-host:7000") ==
               "\"my-host:7000\" names a host (use a literal address such as 127.0.0.1:7000)");
    BOOST_TEST(complaint("127.0.0.1:http-https") ==
               "port \"http-https\" is not a number (try 127.0.0.1:7000)");
    BOOST_TEST(complaint("") == "an address is missing (try 0.0.0.0:7000)");
}

BOOST_AUTO_TEST_CASE(a_bad_range_is_refused_with_what_would_be_right) {
    BOOST_TEST(complaint("127.0.0.1:5009-5000") ==
               "the range ends before it begins (write 127.0.0.1:5000-5009)");
    BOOST_TEST(complaint("*:0-9") == "port 0 is any free one, which begins no range (use 1 to 65535)");
    BOOST_TEST(complaint("127.0.0.1:5000-65536") == "port 65536 is over 65535");
    BOOST_TEST(complaint("127.0.0.1:05000-5009") == "port \"05000\" has a leading zero (write it without)");
    BOOST_TEST(complaint("127.0.0.1:1-1025") == "\"127.0.0.1:1-1025\" has 1025 ports (at most 1024)");
    BOOST_TEST(complaint("*:1-65535") == "\"*:1-65535\" has 65535 ports (at most 1024)");
    for (const char* text : {"127.0.0.1:5000-", "127.0.0.1:-5000", "127.0.0.1:-", "127.0.0.1:1-2-3"}) {
        BOOST_TEST(complaint(text) ==
                   "\"" + std::string(text) + "\" is not a range of ports (try 127.0.0.1:7000-7009)");
    }
    BOOST_TEST(complaint("5000-5009") == "\"5000-5009\" has no address (try 0.0.0.0:5000-5009)");
    BOOST_TEST(complaint(":5000-5009") == "an address is missing before the port (try 0.0.0.0:5000)");
    BOOST_TEST(complaint("localhost:5000-5009") ==
               "\"localhost:5000\" names a host (use a literal address such as 127.0.0.1:7000)");
    BOOST_TEST(Address::parse("10.0.0.1:5000-5009", false).error().reason ==
               "\"5000-5009\" is a range of ports, which only `listen` takes (use one port)");
}

BOOST_AUTO_TEST_CASE(neighbours_are_said_as_the_range_that_they_make) {
    BOOST_TEST(said({"127.0.0.1:5000-5009"}) == "127.0.0.1:5000-5009");
    BOOST_TEST(said({"*:5000-5009"}) == "*:5000-5009");
    BOOST_TEST(said({"*:5000", "127.0.0.1:5001", "[::1]:5002-5003", "unix:/x", "systemd:y"}) ==
               "*:5000 127.0.0.1:5001 [::1]:5002-5003 unix:/x systemd:y");
    BOOST_TEST(said({"127.0.0.1:2", "127.0.0.1:1", "0.0.0.0:3", "[::]:4", "*:5"}) ==
               "127.0.0.1:2 127.0.0.1:1 0.0.0.0:3 [::]:4 *:5");
    BOOST_TEST(said({"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:1"}) == "127.0.0.1:0 127.0.0.1:0 127.0.0.1:1");
    BOOST_TEST(said({"127.0.0.1:1-1024", "127.0.0.1:1025"}) == "127.0.0.1:1-1024 127.0.0.1:1025");
    BOOST_TEST(said({"127.0.0.1:65535", "127.0.0.1:1"}) == "127.0.0.1:65535 127.0.0.1:1");
}

BOOST_AUTO_TEST_SUITE_END()
