#include "daemon/base/net/address.h"

#include <netinet/in.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

using namespace tcpd;

namespace {

Address at(std::string_view text) {
    Result<Address> address = Address::parse(text, true);
    BOOST_REQUIRE_MESSAGE(address, text);
    return *address;
}

std::string reason(std::string_view text, bool allow_port_0 = false) {
    Result<Address> address = Address::parse(text, allow_port_0);
    BOOST_REQUIRE_MESSAGE(!address, text);
    BOOST_TEST((address.error().code == ErrorCode::bad_config));
    BOOST_TEST(address.error().text() == address.error().reason);
    return address.error().reason;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(address)

BOOST_AUTO_TEST_CASE(text_reads_back_as_it_was) {
    for (const char* text : {"127.0.0.1:7000", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:7000", "[::]:1",
                             "[2001:db8::1]:443", "unix:/run/x.sock"}) {
        BOOST_TEST(at(text).text() == text);
    }
    BOOST_TEST(at("[2001:DB8:0:0:0:0:0:1]:443").text() == "[2001:db8::1]:443");
}

BOOST_AUTO_TEST_CASE(the_sockaddr_is_what_the_kernel_takes) {
    Address ipv4 = at("127.0.0.1:7000");
    BOOST_TEST(ipv4.family() == AF_INET);
    BOOST_TEST(ipv4.length() == sizeof(sockaddr_in));
    BOOST_TEST(ipv4.port() == 7000);
    BOOST_TEST(at("[::1]:7000").length() == sizeof(sockaddr_in6));
    Address local = at("unix:/run/x.sock");
    BOOST_TEST(local.is_unix());
    BOOST_TEST(local.length() == offsetof(sockaddr_un, sun_path) + strlen("/run/x.sock") + 1);
    BOOST_TEST(local.path() == "/run/x.sock");
    BOOST_TEST(local.port() == 0);
    BOOST_TEST(Address().family() == AF_UNSPEC);
}

BOOST_AUTO_TEST_CASE(a_port_can_be_filled_in) {
    Address address = at("[::1]:0");
    address.set_port(7001);
    BOOST_TEST(address.text() == "[::1]:7001");
    address = at("127.0.0.1:0");
    address.set_port(7001);
    BOOST_TEST(address.text() == "127.0.0.1:7001");
}

BOOST_AUTO_TEST_CASE(ports) {
    BOOST_TEST(reason("1.2.3.4:70000") == "port 70000 is over 65535");
    BOOST_TEST(reason("1.2.3.4:65536") == "port 65536 is over 65535");
    BOOST_TEST(reason("1.2.3.4:99999999999999999999") == "port 99999999999999999999 is over 65535");
    BOOST_TEST(reason("0.0.0.0") == "a port is missing (try 0.0.0.0:7000)");
    BOOST_TEST(reason("0.0.0.0:") == "a port is missing (try 0.0.0.0:7000)");
    BOOST_TEST(reason("[::1]") == "a port is missing (try [::1]:7000)");
    BOOST_TEST(reason("[::1]:") == "a port is missing (try [::1]:7000)");
    BOOST_TEST(reason("1.2.3.4:0") == "port 0 means nothing here (use 1 to 65535)");
    BOOST_TEST(reason("1.2.3.4:http") == "port \"http\" is not a number (try 1.2.3.4:7000)");
    BOOST_TEST(reason("1.2.3.4:-1") == "port \"-1\" is not a number (try 1.2.3.4:7000)");
    BOOST_TEST(reason("1.2.3.4:0x50") == "port \"0x50\" is not a number (try 1.2.3.4:7000)");
    BOOST_TEST(reason("1.2.3.4:0080") == "port \"0080\" has a leading zero (write it without)");
    BOOST_TEST(reason("7000") == "\"7000\" has no address (try 0.0.0.0:7000)");
    BOOST_TEST(reason(":80") == "an address is missing before the port (try 0.0.0.0:80)");
    BOOST_TEST(reason(":http") == "an address is missing before the port (try 0.0.0.0:7000)");
    BOOST_TEST(reason(":") == "an address is missing before the port (try 0.0.0.0:7000)");
}

BOOST_AUTO_TEST_CASE(names_and_rubbish) {
    BOOST_TEST(reason("localhost:7000") ==
               "\"localhost:7000\" names a host (use a literal address such as 127.0.0.1:7000)");
    BOOST_TEST(reason("localhost") ==
               "\"localhost\" names a host (use a literal address such as 127.0.0.1:7000)");
    BOOST_TEST(reason("1.2.3:80") ==
               "\"1.2.3\" is not an IPv4 address (four numbers from 0 to 255, such as 127.0.0.1)");
    BOOST_TEST(reason("256.0.0.1:80") ==
               "\"256.0.0.1\" is not an IPv4 address (four numbers from 0 to 255, such as 127.0.0.1)");
    BOOST_TEST(reason("*:80") == "\"*:80\" is two addresses, which only `listen` takes (use one)");
    BOOST_TEST(reason("/run/x.sock") == "\"/run/x.sock\" looks like a path (write unix:/run/x.sock)");
    BOOST_TEST(reason("") == "an address is missing (try 0.0.0.0:7000)");
    for (const char* text :
         {" 1.2.3.4:80", "tcp://1.2.3.4:80", "a b:80", "!", "\xFF\xFE:80", "a:b:c", ":::::::::"}) {
        BOOST_TEST(reason(text).find("is not an address (try 127.0.0.1:7000 or [::1]:7000)") !=
                   std::string::npos);
    }
    BOOST_TEST(reason(std::string_view("1.2.3.4\0:80", 11)) == "\"1.2.3.4\\x00:80\" has a NUL byte in it");
    BOOST_TEST(reason(std::string(100'000, 'x')).size() < 400U);
}

BOOST_AUTO_TEST_CASE(ipv6_needs_its_brackets) {
    BOOST_TEST(reason("::1:7000") == "put IPv6 addresses in brackets: [::1]:7000");
    BOOST_TEST(reason("::1") == "put IPv6 addresses in brackets: [::1]:7000");
    BOOST_TEST(reason("::") == "put IPv6 addresses in brackets: [::]:7000");
    BOOST_TEST(reason("2001:db8::5:443") == "put IPv6 addresses in brackets: [2001:db8::5]:443");
    BOOST_TEST(reason("2001:db8::beef") == "put IPv6 addresses in brackets: [2001:db8::beef]:7000");
    BOOST_TEST(reason("[::1") == "\"[::1\" lacks the closing bracket (try [::1]:7000)");
    BOOST_TEST(reason("[::1]7000") == "\"7000\" is no port (try [::1]:7000)");
    BOOST_TEST(reason("[::g]:7000") == "\"::g\" is not an IPv6 address (try [::1]:7000)");
    BOOST_TEST(reason("[]:7000") == "\"\" is not an IPv6 address (try [::1]:7000)");
    BOOST_TEST(reason("[127.0.0.1]:80") == "brackets are for IPv6 (write 127.0.0.1:80)");
    BOOST_TEST(reason("[fe80::1%eth0]:80") ==
               "\"[fe80::1%eth0]:80\" has a scope id, which is not supported (use an address without one)");
    BOOST_TEST(reason("[::ffff:1.2.3.4]:80") ==
               "\"[::ffff:1.2.3.4]:80\" is IPv4 in IPv6's clothes (write it as IPv4)");
    BOOST_TEST(reason("[::1]:70000") == "port 70000 is over 65535");
}

BOOST_AUTO_TEST_CASE(unix_paths) {
    BOOST_TEST(reason("unix:") == "a path is missing (try unix:/run/tcpd/tcpd.sock)");
    BOOST_TEST(reason("unix:run/x.sock") == "path \"run/x.sock\" is relative (write it from the root)");
    BOOST_TEST(reason("unix:@x") == "\"@x\" is an abstract name, which has no permissions (use a path)");
    std::string longest = "/" + std::string(106, 'p');
    BOOST_TEST(at("unix:" + longest).path() == longest);
    BOOST_TEST(reason("unix:" + longest + "p") ==
               "path \"" + longest + "p\" has 108 bytes, over the 107 that a unix socket's may have");
}

BOOST_AUTO_TEST_CASE(listening_takes_both_families_at_once) {
    Result<std::vector<Address>> both = Address::parse_listen("*:7000");
    BOOST_REQUIRE(both);
    BOOST_REQUIRE(both->size() == 2U);
    BOOST_TEST((*both)[0].text() == "0.0.0.0:7000");
    BOOST_TEST((*both)[1].text() == "[::]:7000");
    BOOST_TEST(Address::parse_listen("1.2.3.4:0")->size() == 1U);
    BOOST_TEST(Address::parse_listen("*:0")->size() == 2U);
    BOOST_TEST(Address::parse_listen("*").error().reason == "a port is missing (try *:7000)");
    BOOST_TEST(Address::parse_listen("*:").error().reason == "a port is missing (try *:7000)");
    BOOST_TEST(Address::parse_listen("*:70000").error().reason == "port 70000 is over 65535");
    BOOST_TEST(!Address::parse_listen("localhost:1"));
}

BOOST_AUTO_TEST_CASE(what_can_not_be_bound_twice_overlaps) {
    BOOST_TEST(at("1.2.3.4:80").overlaps(at("1.2.3.4:80")));
    BOOST_TEST(at("1.2.3.4:80").overlaps(at("0.0.0.0:80")));
    BOOST_TEST(at("0.0.0.0:80").overlaps(at("1.2.3.4:80")));
    BOOST_TEST(at("[::]:80").overlaps(at("[::1]:80")));
    BOOST_TEST(at("unix:/a").overlaps(at("unix:/a")));
    BOOST_TEST(!at("1.2.3.4:80").overlaps(at("1.2.3.4:81")));
    BOOST_TEST(!at("1.2.3.4:80").overlaps(at("1.2.3.5:80")));
    BOOST_TEST(!at("0.0.0.0:80").overlaps(at("[::]:80")));
    BOOST_TEST(!at("unix:/a").overlaps(at("unix:/b")));
    BOOST_TEST(!at("unix:/a").overlaps(at("1.2.3.4:80")));
    BOOST_TEST(!at("0.0.0.0:0").overlaps(at("0.0.0.0:0")));
}

BOOST_AUTO_TEST_CASE(equality_is_of_family_host_and_port) {
    BOOST_TEST((at("1.2.3.4:80") == at("1.2.3.4:80")));
    BOOST_TEST(!(at("1.2.3.4:80") == at("1.2.3.4:81")));
    BOOST_TEST(!(at("0.0.0.0:80") == at("[::]:80")));
    BOOST_TEST((at("[::1]:80") == at("[0:0:0:0:0:0:0:1]:80")));
}

BOOST_AUTO_TEST_CASE(nameless_and_abstract_peers_have_a_text) {
    sockaddr_un peer{};
    peer.sun_family = AF_UNIX;
    auto* raw = reinterpret_cast<const sockaddr*>(&peer);
    BOOST_TEST(Address::from_sockaddr(raw, sizeof(sa_family_t)).text() == "unix:");
    memcpy(peer.sun_path, "\0name", 5);
    BOOST_TEST(Address::from_sockaddr(raw, offsetof(sockaddr_un, sun_path) + 5).text() == "unix:@name");
    BOOST_TEST(Address().text() == "none");
    // The kernel may say that the address was longer than the room for it.
    sockaddr_storage full{};
    raw = reinterpret_cast<const sockaddr*>(&full);
    BOOST_TEST(Address::from_sockaddr(raw, 1 << 20).length() == sizeof full);
}

BOOST_AUTO_TEST_CASE(a_passed_socket_is_named_where_one_listens) {
    auto named = Address::parse_listen("systemd:web");
    BOOST_REQUIRE(named);
    BOOST_REQUIRE(named->size() == 1U);
    const Address& address = named->front();
    BOOST_TEST(address.is_inherited());
    BOOST_TEST(!address.is_unix());
    BOOST_TEST(address.inherited_name() == "web");
    BOOST_TEST(address.text() == "systemd:web");
    BOOST_TEST(address.port() == 0);
    BOOST_TEST(address.overlaps(Address::parse_listen("systemd:web")->front()));
    BOOST_TEST(!address.overlaps(Address::parse_listen("systemd:game")->front()));
    BOOST_TEST(!Address().is_inherited());
    for (const char* wrong : {"systemd:", "systemd:a:b", "systemd:a b"}) {
        BOOST_TEST(!Address::parse_listen(wrong), wrong);
    }
    BOOST_TEST(!Address::parse("systemd:web", true));
}

BOOST_AUTO_TEST_SUITE_END()
