#include "master/listen/address_holder.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "daemon/base/unique_fd.h"

using namespace tcpd;
using namespace tcpd::master;

namespace {

Address address(const std::string& text) {
    auto parsed = Address::parse(text, true);
    BOOST_REQUIRE(parsed);
    return *parsed;
}

constexpr const char* kTable =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 "
    "0\n"
    "   1: 0100007F:1B59 0100007F:A2C4 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0 20 "
    "4\n"
    "   2: 00000000:1B5A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4244 1 0 100 "
    "0\n";
constexpr const char* kTable6 =
    "  sl  local_address                         remote_address                        st tx rx tr uid to "
    "inode\n"
    "   0: 00000000000000000000000001000000:1B58 00000000000000000000000000000000:0000 0A 00000000:00000000 "
    "00:00000000 00000000     0        0 5151 1 0 100 0\n"
    "   1: 00000000000000000000000000000000:1B5B 00000000000000000000000000000000:0000 0A 00000000:00000000 "
    "00:00000000 00000000     0        0 5252 1 0 100 0\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(address_holder)

BOOST_AUTO_TEST_CASE(the_table_names_the_socket_that_listens) {
    BOOST_TEST(find_listener(kTable, address("127.0.0.1:7000")) == 4242U);
    BOOST_TEST(find_listener(kTable, address("0.0.0.0:7000")) == 4242U);
    BOOST_TEST(find_listener(kTable, address("127.0.0.2:7000")) == 0U);
    BOOST_TEST(find_listener(kTable, address("10.0.0.1:7002")) == 4244U);
    BOOST_TEST(find_listener(kTable6, address("[::1]:7000")) == 5151U);
}

BOOST_AUTO_TEST_CASE(a_connection_is_no_listener) {
    BOOST_TEST(find_listener(kTable, address("127.0.0.1:7001")) == 0U);
}

BOOST_AUTO_TEST_CASE(a_six_wildcard_may_hold_a_four_address) {
    BOOST_TEST(find_listener(kTable6, address("127.0.0.1:7003")) == 5252U);
    BOOST_TEST(find_listener(kTable6, address("127.0.0.1:7000")) == 0U);
}

BOOST_AUTO_TEST_CASE(rubbish_names_nobody) {
    for (const char* table :
         {"", "\n\n", "a b c", "0: xx:yy 0 0A 0 0 0 0 0 1", "0: 0100007F 0 0A 1 2 3 4 5 6"}) {
        BOOST_TEST(find_listener(table, address("127.0.0.1:7000")) == 0U);
    }
}

BOOST_AUTO_TEST_CASE(this_process_is_found_by_its_own_socket) {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in bound{};
    bound.sin_family = AF_INET;
    bound.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof bound;
    BOOST_REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&bound), length) == 0);
    BOOST_REQUIRE(::listen(fd.get(), 1) == 0);
    BOOST_REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length) == 0);
    const auto holder = find_holder(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&bound), length));
    BOOST_REQUIRE(holder.has_value());
    BOOST_TEST(holder->pid == ::getpid());
    BOOST_TEST(holder->name == name_of_process(::getpid()));
    BOOST_TEST(!holder->name.empty());
}

BOOST_AUTO_TEST_CASE(an_address_that_nobody_has_names_nobody) {
    BOOST_TEST(!find_holder(address("127.0.0.1:1")).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
