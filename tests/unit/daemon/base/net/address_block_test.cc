// Blocks of addresses: what is read, what is said of a mistake, and which addresses a set of them contains.

#include "daemon/base/net/address_block.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "daemon/base/net/address.h"

using namespace tcpd;

namespace {

AddressNumber number_of(const std::string& literal) {
    const bool is_v6 = literal.find(':') != literal.npos;
    const Address address = *Address::parse(is_v6 ? "[" + literal + "]:1" : literal + ":1", false);
    AddressNumber number;
    BOOST_REQUIRE(to_number(address.get(), &number));
    return number;
}

AddressSet set_of(const std::vector<std::string>& texts) {
    std::vector<AddressBlock> blocks;
    for (const std::string& text : texts) blocks.push_back(*AddressBlock::parse(text));
    return AddressSet(blocks);
}

std::string complaint(const std::string& text) {
    const Result<AddressBlock> block = AddressBlock::parse(text);
    return block ? "fine" : block.error().reason;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(address_block)

BOOST_AUTO_TEST_CASE(texts) {
    for (const std::string text :
         {"10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/32", "::/0", "::1/128"})
        BOOST_TEST(AddressBlock::parse(text)->text() == text);
    BOOST_TEST(AddressBlock::parse("192.0.2.1")->text() == "192.0.2.1/32");
    BOOST_TEST(AddressBlock::parse("2001:db8::1")->text() == "2001:db8::1/128");
}

BOOST_AUTO_TEST_CASE(mistakes) {
    BOOST_TEST(complaint("10.1.0.0/8") ==
               "\"10.1.0.0/8\" has bits set behind its prefix (did you mean 10.0.0.0/8?)");
    BOOST_TEST(complaint("2001:db8::1/64") ==
               "\"2001:db8::1/64\" has bits set behind its prefix (did you mean 2001:db8::/64?)");
    for (const std::string text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/8/8"})
        BOOST_TEST(complaint(text) == "\"" + text + "\" has no prefix length of 0 to 32 behind the slash");
    BOOST_TEST(complaint("::/129") == "\"::/129\" has no prefix length of 0 to 128 behind the slash");
    for (const std::string text : {"", "10.0.0/8", "localhost", "10.0.0.1:80", "[::1]", "*"})
        BOOST_TEST(complaint(text).find("is not a block of addresses") != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(what_a_set_contains) {
    const AddressSet set = set_of({"10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "192.0.2.2", "2001:db8::/32"});
    for (const char* inside : {"10.0.0.0", "10.255.255.255", "192.0.2.1", "192.0.2.2", "2001:db8:ffff::1"})
        BOOST_TEST(set.contains(number_of(inside)), inside);
    for (const char* outside : {"9.255.255.255", "11.0.0.0", "192.0.2.0", "192.0.2.3", "2001:db9::", "::"})
        BOOST_TEST(!set.contains(number_of(outside)), outside);
    BOOST_TEST(!AddressSet().contains(number_of("10.0.0.1")));
    BOOST_TEST(set_of({"0.0.0.0/0"}).contains(number_of("255.255.255.255")));
    BOOST_TEST(!set_of({"0.0.0.0/0"}).contains(number_of("2001:db8::1")));
    BOOST_TEST(set_of({"::/0"}).contains(number_of("ffff::")));
}

// An IPv4 client of an IPv6 socket.
BOOST_AUTO_TEST_CASE(mapped_addresses_are_their_ipv4_ones) {
    sockaddr_in6 mapped{};
    mapped.sin6_family = AF_INET6;
    BOOST_REQUIRE(inet_pton(AF_INET6, "::ffff:10.1.2.3", &mapped.sin6_addr) == 1);
    AddressNumber number;
    BOOST_REQUIRE(to_number(reinterpret_cast<const sockaddr*>(&mapped), &number));
    BOOST_TEST(set_of({"10.0.0.0/8"}).contains(number));
}

BOOST_AUTO_TEST_CASE(an_ipv6_block_does_not_hold_ipv4) {
    for (const char* block : {"::/0", "::/1", "::/64"}) {
        const AddressSet set = set_of({block});
        for (const char* outside : {"0.0.0.0", "10.1.2.3", "255.255.255.255"})
            BOOST_TEST(!set.contains(number_of(outside)), block << " " << outside);
        for (const char* inside : {"::", "::1", "::fffe:ffff:ffff", "::1:0:0:0"})
            BOOST_TEST(set.contains(number_of(inside)), block << " " << inside);
    }
    BOOST_TEST(set_of({"::/0"}).contains(number_of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")));
    BOOST_TEST(set_of({"::/80"}).contains(number_of("::fffe:ffff:ffff")));
    BOOST_TEST(!set_of({"::/80"}).contains(number_of("255.255.255.255")));
    const AddressSet both = set_of({"::/0", "10.0.0.0/8"});
    BOOST_TEST(both.contains(number_of("10.1.2.3")));
    BOOST_TEST(!both.contains(number_of("11.1.2.3")));
    BOOST_TEST(both.contains(number_of("2001:db8::1")));
    BOOST_TEST(set_of({"::ffff:0:0/96"}).contains(number_of("10.1.2.3")));
    BOOST_TEST(set_of({"::ffff:10.0.0.0/104"}).contains(number_of("10.1.2.3")));
}

BOOST_AUTO_TEST_CASE(a_set_is_what_its_blocks_are_one_by_one) {
    std::mt19937 random(1);
    for (int round = 0; round < 200; ++round) {
        std::vector<AddressBlock> blocks;
        for (int i = 0; i < 8; ++i) {
            const uint64_t first = random() % 256, bits = random() % 4;
            const uint64_t behind = (uint64_t{1} << bits) - 1;
            blocks.push_back({{0, first & ~behind}, {0, first | behind}});
        }
        const AddressSet set(blocks);
        for (uint64_t at = 0; at < 260; ++at) {
            const bool expected = std::any_of(blocks.begin(), blocks.end(), [&](const AddressBlock& block) {
                return block.first <= AddressNumber{0, at} && AddressNumber{0, at} <= block.last;
            });
            BOOST_REQUIRE_EQUAL(set.contains({0, at}), expected);
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()
