#pragma once

// A network namespace for a child process alone, which takes root's rights. Source: network_namespaces(7).

#include <sched.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <string>

#include "tests/unit/in_child.h"

namespace tcpd::test {

// With this net.core.somaxconn; false: it is not to be had.
inline bool enter_own_network(unsigned somaxconn) {
    if (::unshare(CLONE_NEWNET) != 0) return false;
    std::ofstream file("/proc/sys/net/core/somaxconn");
    return static_cast<bool>(file << somaxconn << std::flush);
}

// A precondition.
inline bool may_have_own_network(boost::unit_test::test_unit_id) {
    return holds_in_child([] { return enter_own_network(100); });
}

}  // namespace tcpd::test
