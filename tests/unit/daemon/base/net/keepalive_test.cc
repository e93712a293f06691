#include "daemon/base/net/keepalive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <chrono>

#include "daemon/base/unique_fd.h"

using namespace tcpd;
using namespace std::chrono_literals;

namespace {

int option(const UniqueFd& fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    BOOST_REQUIRE(getsockopt(fd.get(), level, name, &value, &length) == 0);
    return value;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(keepalive)

BOOST_AUTO_TEST_CASE(the_kernel_has_all_of_it) {
    const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(set_keepalive(fd.get(), {.idle = 7s, .interval = 2500ms, .probes = 3}));
    BOOST_TEST(option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
    BOOST_TEST(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 7);
    BOOST_TEST(option(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 3);
    BOOST_TEST(option(fd, IPPROTO_TCP, TCP_KEEPCNT) == 3);
}

// What an earlier image set would end a peer that answers, its window closed.
BOOST_AUTO_TEST_CASE(the_kernel_does_not_count_the_time_of_a_closed_window) {
    const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int former = 14'500;
    BOOST_REQUIRE(setsockopt(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &former, sizeof former) == 0);
    BOOST_REQUIRE(set_keepalive(fd.get(), {}));
    BOOST_TEST(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
}

BOOST_AUTO_TEST_CASE(as_much_as_the_grammar_allows_is_taken) {
    const UniqueFd fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_TEST(set_keepalive(fd.get(), {.idle = 32767s, .interval = 32767s, .probes = 127}));
    BOOST_TEST(set_keepalive(fd.get(), {.idle = 1s, .interval = 1s, .probes = 127}));
}

BOOST_AUTO_TEST_CASE(what_takes_none_is_told) {
    BOOST_TEST(!set_keepalive(-1, {}));
    BOOST_TEST(errno == EBADF);
}

BOOST_AUTO_TEST_SUITE_END()
