// The upstream's side of a proxied connection: bytes come down, its worker killed at each point in turn.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_upstream_side)

BOOST_AUTO_TEST_CASE(walk_plain) { FaultWalk(upstream_side, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_pressure) { FaultWalk(upstream_side, pressure).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_ends_first) { FaultWalk(upstream_side, client_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_upstream_ends_first) { FaultWalk(upstream_side, upstream_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_urgent_byte) { FaultWalk(upstream_side, urgent_byte).walk(); }
BOOST_AUTO_TEST_CASE(walk_refused) { FaultWalk(upstream_side, refused).walk(); }
BOOST_AUTO_TEST_CASE(walk_unix_socket) { FaultWalk(upstream_side, unix_socket).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_resets) { FaultWalk(upstream_side, client_resets).walk(); }
BOOST_AUTO_TEST_CASE(walk_upstream_resets) { FaultWalk(upstream_side, upstream_resets).walk(); }

BOOST_AUTO_TEST_SUITE_END()
