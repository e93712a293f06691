// How a session begins and ends, its worker killed at each point in turn: AUTH that comes byte by byte is
// answered once, and the ERROR that closes comes whole, once, after all replies.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_session)

BOOST_AUTO_TEST_CASE(walk_auth) { FaultWalk(framed_auth, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_auth_client_ends_first) { FaultWalk(framed_auth, client_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_auth_unix_socket) { FaultWalk(framed_auth, unix_socket).walk(); }
BOOST_AUTO_TEST_CASE(walk_last_error) { FaultWalk(framed_closed, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_last_error_pressure) { FaultWalk(framed_closed, pressure).walk(); }

BOOST_AUTO_TEST_SUITE_END()
