// Frames that go on to an upstream and come back, their worker killed at each point in turn: no byte of a
// frame is lost, doubled or out of place on either side, and each end comes after all that was sent before
// it.

#include <boost/test/unit_test.hpp>

#include "tests/support/fault_walk.h"

using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(fault_framed_proxy)

BOOST_AUTO_TEST_CASE(walk_plain) { FaultWalk(proxied, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_pressure) { FaultWalk(proxied, pressure).walk(); }
BOOST_AUTO_TEST_CASE(walk_client_ends_first) { FaultWalk(proxied, client_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_upstream_ends_first) { FaultWalk(proxied, upstream_ends_first).walk(); }
BOOST_AUTO_TEST_CASE(walk_goodbye) { FaultWalk(proxied_goodbye, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_last_error) { FaultWalk(proxied_broken, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_auth) { FaultWalk(proxied_auth, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_refused) { FaultWalk(proxied_refused, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_lengths) { FaultWalk(proxied_lengths, plain).walk(); }
BOOST_AUTO_TEST_CASE(walk_raw_replies) { FaultWalk(proxied_raw_replies, plain).walk(); }

BOOST_AUTO_TEST_SUITE_END()
