// SIGHUP and `-s reload`: another configuration comes into force, and every connection stays.

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kEcho = "echo: {listen: 127.0.0.1:0, handler: echo}";

std::string config(const std::string& listeners, const std::string& more = "workers: 2\n") {
    return more + "listeners: {" + listeners + "}\n";
}

// As the daemon's own directory has it: TestDaemon adds the pid file.
void rewrite(const TestDaemon& daemon, const std::string& text) {
    std::ofstream(daemon.config_path()) << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\n" << text;
}

void reload(const TestDaemon& daemon, const std::string& text) {
    rewrite(daemon, text);
    const Output output = daemon.verb("reload");
    BOOST_REQUIRE_MESSAGE(output.exit == 0, output.err);
}

std::vector<uint64_t> images(const TestDaemon& daemon) {
    std::vector<uint64_t> list;
    const Status status = daemon.status();
    for (const SlotStatus& slot : status.slots()) list.push_back(slot.image);
    return list;
}

// A range can't have port 0: nobody else has this address of the loopback net.
std::string own_address() {
    const auto pid = static_cast<unsigned>(::getpid());
    return "127." + std::to_string(100 + pid / 62'500 % 100) + "." + std::to_string(1 + pid / 250 % 250) +
           "." + std::to_string(1 + pid % 250);
}

std::string range(const std::string& ports) {
    return config("echo: {listen: \"" + own_address() + ":" + ports + "\", handler: echo}", "workers: 1\n");
}

Address at_port(int port) { return *Address::parse(own_address() + ":" + std::to_string(port), false); }

}  // namespace

BOOST_AUTO_TEST_SUITE(reload_)

BOOST_AUTO_TEST_CASE(streams_go_on_through_many) {
    TestDaemon daemon(config(kEcho));
    ExactPeer peer;
    peer.open(daemon.address("echo"), Plan{.up_bytes = kEndless, .window = 16'384, .piece = 3000}, 40);
    peer.open(daemon.address("echo"), Plan{.up_bytes = 5000, .repeats = true}, 10);
    for (int i = 0; i < 20; ++i) {
        const auto before = images(daemon);
        daemon.send(SIGHUP);
        peer.run_until("every slot to have another image", [&] {
            const auto now = images(daemon);
            return now[0] > before[0] && now[1] > before[1];
        });
        peer.run_bytes(200'000);
    }
    peer.wind_down();
    peer.finish();
    check_all_finished(peer.results());
    daemon.wait_complete(2);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(nothing_stays_behind) {
    TestDaemon daemon(config(kEcho));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    daemon.wait_complete(2);
    for (int i = 0; i < 3; ++i) reload(daemon, config(kEcho));
    daemon.wait_complete(2);
    wait_for("the old ones to be gone", [&] { return daemon.processes().size() == 5; });
    const size_t descriptors = daemon.descriptors(0) + daemon.descriptors(1);
    for (int i = 0; i < 10; ++i) reload(daemon, config(kEcho));
    daemon.wait_complete(2);
    wait_for("the old ones to be gone", [&] { return daemon.processes().size() == 5; });
    wait_for("no more descriptors than before",
             [&] { return daemon.descriptors(0) + daemon.descriptors(1) <= descriptors; });
    BOOST_CHECK(client.echoes("still here"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_port_that_the_kernel_chose_is_kept) {
    TestDaemon daemon(config(kEcho));
    const Address address = daemon.address("echo");
    reload(daemon, config(kEcho));
    BOOST_CHECK(daemon.address("echo") == address);
    BOOST_CHECK(BlockingClient(address).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(a_listener_is_added) {
    TestDaemon daemon(config(kEcho));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    std::string more = kEcho;  // more sockets than there were numbers below the connections
    for (int i = 0; i < 30; ++i) {
        more += ", l" + std::to_string(i) + ": {listen: 127.0.0.1:0, handler: echo}";
    }
    reload(daemon, config(more));
    for (int i = 0; i < 30; ++i) {
        BOOST_CHECK(BlockingClient(daemon.address("l" + std::to_string(i))).echoes("hello"));
    }
    BOOST_CHECK(client.echoes("still here"));
    reload(daemon, config(kEcho));
    BOOST_CHECK(client.echoes("and still"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_removed_listener_stops_accepting_and_its_connections_may_end) {
    const std::string both = std::string(kEcho) + ", old: {listen: 127.0.0.1:0, handler: echo}";
    TestDaemon daemon(config(both));
    const Address address = daemon.address("old");
    BlockingClient client(address);
    BOOST_CHECK(client.echoes("hello"));
    reload(daemon, config(kEcho));
    BOOST_CHECK(!can_connect(address));
    BOOST_CHECK(client.echoes("still here"));
    BOOST_CHECK_EQUAL(daemon.count("old", "open"), 1U);
    reload(daemon, config(kEcho));
    BOOST_CHECK(client.echoes("after another reload"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(they_are_closed_when_their_time_is_over) {
    const std::string both = std::string(kEcho) + ", old: {listen: 127.0.0.1:0, handler: echo}";
    TestDaemon daemon(config(both));
    BlockingClient client(daemon.address("old"));
    BOOST_CHECK(client.echoes("hello"));
    reload(daemon, config(kEcho, "workers: 2\ndrain: {replaced: 200ms, spread: false}\n"));
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(an_address_moves_and_connections_stay) {
    TestDaemon daemon(config("echo: {listen: [127.0.0.1:0, 127.0.0.2:0], handler: echo}"));
    const Address gone = daemon.address("echo", 0), kept = daemon.address("echo", 1);
    BlockingClient first(gone), second(kept);
    BOOST_CHECK(first.echoes("a") && second.echoes("b"));
    reload(daemon, config("echo: {listen: [127.0.0.2:0, 127.0.0.3:0], handler: echo}"));
    BOOST_CHECK(first.echoes("a") && second.echoes("b"));
    BOOST_CHECK(daemon.address("echo", 0) == kept || daemon.address("echo", 1) == kept);
    BOOST_CHECK(!can_connect(gone));
    BOOST_CHECK(BlockingClient(kept).echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(another_handler_is_for_new_connections) {
    TestDaemon daemon(config("main: {listen: 127.0.0.1:0, handler: echo}"));
    const Address address = daemon.address("main");
    BlockingClient old(address);
    BOOST_CHECK(old.echoes("hello"));
    FakeUpstream upstream;
    reload(daemon, config("main: {listen: 127.0.0.1:0, handler: {proxy: far}}",
                          "workers: 2\nupstreams: {far: {servers: [\"" + upstream.text() + "\"]}}\n"));
    BOOST_CHECK(daemon.address("main") == address);
    BOOST_CHECK(old.echoes("still echoed by the old one"));
    ExactPeer peer;
    peer.open(address, Plan{.up_bytes = 100'000}, 4);
    peer.finish();
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(upstream.settled().accepted, 4U);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(new_limits_hold_for_the_connections_that_there_are) {
    TestDaemon daemon(config(kEcho));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    reload(daemon, config("echo: {listen: 127.0.0.1:0, handler: echo, timeouts: {idle: 300ms}}"));
    BOOST_CHECK(client.wait_end() == Ending::orderly);
    wait_for("the count", [&] { return daemon.count("echo", "closed idle") == 1; });
}

BOOST_AUTO_TEST_CASE(workers_become_more_and_fewer) {
    TestDaemon daemon(config(kEcho));
    const Address address = daemon.address("echo");
    std::vector<std::unique_ptr<BlockingClient>> clients;
    reload(daemon, config(kEcho, "workers: 4\n"));
    daemon.wait_complete(4);
    for (int i = 0; i < 40; ++i) clients.push_back(std::make_unique<BlockingClient>(address));
    for (auto& client : clients) BOOST_CHECK(client->echoes("hello"));
    reload(daemon, config(kEcho, "workers: 1\n"));
    for (auto& client : clients) BOOST_CHECK(client->echoes("still here"));
    for (int i = 0; i < 20; ++i) BOOST_CHECK(BlockingClient(address).echoes("to the one that is left"));
    clients.clear();
    wait_for("the others to end", [&] { return daemon.processes().size() == 3; });
    reload(daemon, config(kEcho, "workers: 3\n"));
    daemon.wait_complete(3);
    for (int i = 0; i < 20; ++i) BOOST_CHECK(BlockingClient(address).echoes("hello"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_said_and_the_old_goes_on) {
    TestDaemon daemon(config(kEcho));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    const auto before = images(daemon);
    const std::pair<std::string, std::string> wrong[] = {
        {"listeners: {echo: {listen: 127.0.0.1:0, handler: ecko}}\n", "ecko"},
        {"rubbish: [\n", "tcpd.yaml:"},
        {"", "listeners"},
        {config(kEcho, "user: root\n"), "user can't be changed"},
        {config("echo: {listen: 192.0.2.1:7000, handler: echo}"), "192.0.2.1:7000"}};
    for (const auto& [text, expected] : wrong) {
        rewrite(daemon, text);
        const Output output = daemon.verb("reload");
        BOOST_CHECK_NE(output.exit, 0);
        BOOST_CHECK_MESSAGE(output.err.find(expected) != std::string::npos, output.err);
        BOOST_CHECK(client.echoes("still here"));
    }
    BOOST_CHECK(images(daemon) == before);
    BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("a new one"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(an_address_that_somebody_else_holds_leaves_all_as_it_was) {
    FakeUpstream other;
    TestDaemon daemon(config(kEcho));
    const Address address = daemon.address("echo");
    rewrite(daemon, config(std::string(kEcho) + ", more: {listen: \"" + other.text() + "\", handler: echo}"));
    const Output output = daemon.verb("reload");
    BOOST_CHECK_NE(output.exit, 0);
    BOOST_CHECK_MESSAGE(output.err.find("in use") != std::string::npos, output.err);
    BOOST_CHECK(BlockingClient(address).echoes("hello"));
}

BOOST_AUTO_TEST_CASE(several_at_once_are_one_more) {
    TestDaemon daemon(config(kEcho));
    const auto before = images(daemon);
    for (int i = 0; i < 20; ++i) daemon.send(SIGHUP);
    const Output output = daemon.verb("reload");
    BOOST_CHECK_EQUAL(output.exit, 0);
    daemon.wait_complete(2);
    // A reload takes an image of each slot. How many there are depends on how long the signals take to be
    // sent.
    BOOST_CHECK_LE(images(daemon)[0], before[0] + 2 * 8);
}

BOOST_AUTO_TEST_CASE(the_log_format_follows) {
    TestDaemon daemon(config(kEcho));
    reload(daemon, config(kEcho, "workers: 2\nlog: {level: info, format: json}\n"));
    BlockingClient(daemon.address("echo")).echoes("hello");
    wait_for("a line of the new format", [&] { return daemon.count_in_err("\"closed conn=") > 0; });
    daemon.send(SIGHUP);
    wait_for("the master's too", [&] { return daemon.count_in_err("\"reloading") > 0; });
}

BOOST_AUTO_TEST_CASE(unix_sockets_stay_where_they_are) {
    TempDir folder;
    const std::string path = folder / "echo.sock";
    const std::string listener = "echo: {listen: \"unix:" + path + "\", handler: echo}";
    TestDaemon daemon(config(listener));
    BlockingClient client(daemon.address("echo"));
    BOOST_CHECK(client.echoes("hello"));
    for (int i = 0; i < 3; ++i) {
        reload(daemon, config(listener));
        BOOST_CHECK(client.echoes("still here"));
        BOOST_CHECK(BlockingClient(daemon.address("echo")).echoes("a new one"));
    }
    reload(daemon, config(kEcho));
    BOOST_CHECK(client.echoes("still here"));
    BOOST_CHECK(!std::ifstream(path).good());
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_range_of_ports_moves_on_and_its_clients_stay) {
    TestDaemon daemon(range("7100-7399"));
    BlockingClient first(at_port(7100)), last(at_port(7399));
    BOOST_CHECK(first.echoes("first") && last.echoes("last"));
    BOOST_CHECK(!can_connect(at_port(7400)));
    reload(daemon, range("7300-7499"));
    BOOST_CHECK(first.echoes("a port that went") && last.echoes("one that stays"));
    BOOST_CHECK(!can_connect(at_port(7100)));
    for (const int port : {7300, 7399, 7400, 7499}) BOOST_CHECK(BlockingClient(at_port(port)).echoes("new"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
