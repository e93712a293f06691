// Echoed frames of the tcpd protocol, their worker killed at each point in turn: no byte of a frame is lost,
// doubled or out of place, however it was cut and wherever it lay.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_framed)

BOOST_AUTO_TEST_CASE(walk_plain) { FaultWalk(framed, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_pressure) { FaultWalk(framed, pressure).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_ends_first) { FaultWalk(framed, client_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_urgent_byte) { FaultWalk(framed, urgent_byte).walk(); }
BOOST_AUTO_TEST_CASE(walk_unix_socket) { FaultWalk(framed, unix_socket).walk(); }

BOOST_AUTO_TEST_SUITE_END()
