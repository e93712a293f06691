#include "daemon/base/net/families.h"

#include <sys/socket.h>

#include <boost/test/unit_test.hpp>

#include "tests/unit/in_child.h"
#include "tests/unit/lose_family.h"

using namespace tcpd;
using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(families)

BOOST_AUTO_TEST_CASE(only_what_the_kernel_refuses_is_absent) {
    BOOST_TEST(machine_has(AF_INET));
    BOOST_TEST(holds_in_child([] { return lose_family(AF_INET6) && !machine_has(AF_INET6); }));
    BOOST_TEST(holds_in_child([] { return lose_family(AF_INET6) && machine_has(AF_INET); }));
    BOOST_TEST(holds_in_child([] { return lose_family(AF_INET) && !machine_has(AF_INET); }));
}

BOOST_AUTO_TEST_SUITE_END()
