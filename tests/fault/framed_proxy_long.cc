// Frames on their way to an upstream and back that do not fit a receive, their worker killed at each point in
// turn: those that are gathered first, and those that are passed on as they come.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_framed_proxy_long)

BOOST_AUTO_TEST_CASE(walk_gathered) { FaultWalk(proxied_chunks, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_gathered_pressure) { FaultWalk(proxied_chunks, pressure).walk(); }
BOOST_AUTO_TEST_CASE(walk_passed_on) { FaultWalk(proxied_long, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_passed_on_pressure) { FaultWalk(proxied_long, pressure).walk(); }

BOOST_AUTO_TEST_SUITE_END()
