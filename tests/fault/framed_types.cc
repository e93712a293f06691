// Frames that are answered by their types, or not at all, their worker killed at each point in turn: each
// that asks for an answer gets one, in its place. And frames that wait for their time.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_framed_types)

BOOST_AUTO_TEST_CASE(walk_discard) { FaultWalk(framed_discard, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_routes) { FaultWalk(framed_routes, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_held_back) { FaultWalk(held_back, plain).walk(); }

BOOST_AUTO_TEST_SUITE_END()
