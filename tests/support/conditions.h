#pragma once

// What a test may need of the machine: *boost::unit_test::precondition(is_root). Where it does not hold, the
// test is shown as skipped, and not as passed.

#include <unistd.h>

#include <boost/test/unit_test.hpp>

namespace tcpd::test {

inline boost::test_tools::assertion_result is_root(boost::unit_test::test_unit_id) {
    boost::test_tools::assertion_result holds(::geteuid() == 0);
    holds.message() << "it needs root";
    return holds;
}

}  // namespace tcpd::test
