// An echoed connection, its worker killed at each point in turn.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_echo)

BOOST_AUTO_TEST_CASE(walk_plain) { FaultWalk(echo, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_pressure) { FaultWalk(echo, pressure).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_ends_first) { FaultWalk(echo, client_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_urgent_byte) { FaultWalk(echo, urgent_byte).walk(); }
BOOST_AUTO_TEST_CASE(walk_unix_socket) { FaultWalk(echo, unix_socket).walk(); }
BOOST_AUTO_TEST_CASE(walk_limited) { FaultWalk(echo, limited).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_resets) { FaultWalk(echo, client_resets).walk(); }

BOOST_AUTO_TEST_SUITE_END()
