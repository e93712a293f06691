#include "daemon/base/net/backlog.h"

#include <sched.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>

#include "daemon/base/net/address.h"
#include "daemon/base/unique_fd.h"
#include "tests/unit/folder.h"
#include "tests/unit/own_network.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr uint64_t kWanted = 60'000;

UniqueFd listening(const std::string& text) {
    const auto address = Address::parse(text, true);
    UniqueFd fd(::socket(address->family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(fd.get(), address->get(), address->length()) != 0 || ::listen(fd.get(), kWanted) != 0)
        return UniqueFd();
    return fd;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(backlog)

BOOST_AUTO_TEST_CASE(a_socket_got_what_its_own_network_allows,
                     *boost::unit_test::precondition(may_have_own_network)) {
    const Folder folder;
    BOOST_TEST(holds_in_child([&] {
        if (!enter_own_network(37)) return false;
        const UniqueFd four = listening("127.0.0.1:0"), local = listening("unix:" + (folder / "s"));
        const bool is_seen = backlog_of(four.get(), kWanted) == 37U &&
                             backlog_of(local.get(), kWanted) == 37U && backlog_of(local.get(), 5) == 5U &&
                             most_backlog() == 37U;
        // Seen from another network.
        return is_seen && ::unshare(CLONE_NEWNET) == 0 && most_backlog() != 37U &&
               backlog_of(four.get(), kWanted) == 37U && !backlog_of(local.get(), kWanted);
    }));
}

BOOST_AUTO_TEST_SUITE_END()
