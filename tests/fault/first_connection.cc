// A worker that dies with its first connection in hand, which no record names yet: its successor finds it behind the
// listening sockets, however many those are.

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/fault_area.h"
#include "tests/support/test_daemon.h"
#include "tests/support/wait.h"

using namespace tcpd;
using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(first_connection)

BOOST_AUTO_TEST_CASE(is_found_behind_many_listening_sockets) {
    FaultArea area;
    std::string listen = "\"127.0.0.1:0\"";
    for (int i = 0; i < 60; ++i) listen += ", \"127.0.0.1:0\"";
    TestDaemon daemon(DaemonOptions{.config = "workers: 1\nlisteners:\n  echo: {listen: [" + listen +
                                              "], handler: echo}\n  more: {listen: [" + listen +
                                              "], handler: echo}\n",
                                    .environment = {area.environment()}});
    area.arm(fault::Point::accept_done_not_published, fault::Action::kill);
    BlockingClient client(daemon.address("echo"));
    wait_for("the worker to die", [&] { return area.acted(fault::Point::accept_done_not_published) == 1U; });
    daemon.wait_complete(1);
    BOOST_TEST(client.echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
