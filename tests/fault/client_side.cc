// The client's side of a proxied connection: bytes go up, its worker killed at each point in turn.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_client_side)

BOOST_AUTO_TEST_CASE(walk_plain) { FaultWalk(client_side, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_pressure) { FaultWalk(client_side, pressure).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_ends_first) { FaultWalk(client_side, client_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_upstream_ends_first) { FaultWalk(client_side, upstream_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_urgent_byte) { FaultWalk(client_side, urgent_byte).walk(); }
BOOST_AUTO_TEST_CASE(walk_unix_socket) { FaultWalk(client_side, unix_socket).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_resets) { FaultWalk(client_side, client_resets).walk(); }
BOOST_AUTO_TEST_CASE(walk_upstream_resets) { FaultWalk(client_side, upstream_resets).walk(); }

BOOST_AUTO_TEST_SUITE_END()
