// A connection whose bytes are thrown away, its worker killed at each point in turn.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_discard)

BOOST_AUTO_TEST_CASE(walk_plain) { FaultWalk(discard, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_ends_first) { FaultWalk(discard, client_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_urgent_byte) { FaultWalk(discard, urgent_byte).walk(); }
BOOST_AUTO_TEST_CASE(walk_unix_socket) { FaultWalk(discard, unix_socket).walk(); }

BOOST_AUTO_TEST_SUITE_END()
