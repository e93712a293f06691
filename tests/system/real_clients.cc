// Programs that people use, through the proxy, while workers are killed: none of them notices. Each case
// needs its programs and is left out where they are not installed.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "tests/support/blocking_client.h"
#include "tests/support/conditions.h"
#include "tests/support/exact_stream.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string program(const std::string& name) {
    std::vector<std::string> folders = {"/usr/bin", "/usr/sbin"};
    std::error_code ignored;
    for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", ignored)) {
        folders.push_back(version.path() / "bin");
    }
    for (const std::string& folder : folders) {
        if (access((folder + "/" + name).c_str(), X_OK) == 0) return folder + "/" + name;
    }
    return {};
}

auto have(const std::vector<std::string>& names) {
    return [names](boost::unit_test::test_unit_id) {
        const auto missing = std::find_if(names.begin(), names.end(),
                                          [](const std::string& name) { return program(name).empty(); });
        boost::test_tools::assertion_result holds(missing == names.end());
        if (!holds) holds.message() << "there is no " << *missing;
        return holds;
    };
}

Address local(uint16_t port) { return *Address::parse(fmt::format("127.0.0.1:{}", port), false); }

std::string config(uint16_t server) {
    return fmt::format(
        "workers: 2\nlog: {{level: warn}}\nsupervisor: {{respawn: {{initial: 1ms, max: 2ms}}}}\n"
        "listeners: {{front: {{listen: 127.0.0.1:0, handler: {{proxy: back}}}}}}\n"
        "upstreams: {{back: {{servers: ['127.0.0.1:{}']}}}}\n",
        server);
}

// A server of a test's own, started in `directory`.
struct Server {
    Server(const std::vector<std::string>& argv, uint16_t server_port, const TempDir& directory)
        : child({.argv = argv, .out_path = directory / "server", .err_path = directory / "server"}) {
        wait_for(argv[0] + " to listen", [&] { return can_connect(local(server_port)); });
    }
    ChildProcess child;
};

// Runs a client to its end, killing a worker every now and then; returns what it printed.
std::string run_under_kills(const TestDaemon& daemon, const std::vector<std::string>& argv,
                            const TempDir& directory) {
    const std::string path = directory / "client";
    ChildProcess client({.argv = argv, .out_path = path, .err_path = path});
    unsigned kills = 0;
    auto next = SteadyClock::now() + 100ms;
    wait_for(
        argv[0] + " to end",
        [&] {
            if (SteadyClock::now() > next) {
                daemon.kill_worker(kills++ % 2);
                next = SteadyClock::now() + 50ms;
            }
            return client.poll_exit().has_value();
        },
        60s);
    BOOST_TEST_MESSAGE(argv[0] << " ended after " << kills << " kills");
    const std::string text = read_text(path);
    BOOST_CHECK_MESSAGE(*client.poll_exit() == 0, text);
    return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(real_clients)

BOOST_AUTO_TEST_CASE(redis, *boost::unit_test::precondition(have({"redis-server", "redis-benchmark"}))) {
    const TempDir directory;
    const uint16_t port = free_port();
    const Server server(
        {program("redis-server"), "--port", std::to_string(port), "--save", "", "--dir", directory.path()},
        port, directory);
    TestDaemon daemon(config(port));
    const Address front = daemon.address("front");
    const std::string text = run_under_kills(daemon,
                                             {program("redis-benchmark"), "-p", std::to_string(front.port()),
                                              "-t", "ping,set,get,lpush", "-n", "30000", "-c", "30", "-q"},
                                             directory);
    BOOST_CHECK_MESSAGE(text.find("rror") == std::string::npos, text);

    std::string value(1 << 20, '\0');
    Pattern(7).fill(0, value.data(), value.size());
    BlockingClient client(front);
    client.send(fmt::format("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.size()));
    daemon.kill_worker(0);
    client.send(value + "\r\n");
    daemon.kill_worker(1);
    BOOST_CHECK_EQUAL(client.receive(5), "+OK\r\n");
    client.send("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    daemon.kill_worker(0);
    BOOST_CHECK(client.receive(10 + value.size()).substr(10) == value);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(iperf, *boost::unit_test::precondition(have({"iperf3"}))) {
    const TempDir directory;
    const uint16_t port = free_port();
    const Server server({program("iperf3"), "-s", "-p", std::to_string(port)}, port, directory);
    TestDaemon daemon(config(port));
    const std::string front = std::to_string(daemon.address("front").port());
    for (const char* direction : {"--format=m", "--reverse", "--bidir"}) {
        run_under_kills(daemon,
                        {program("iperf3"), "-c", "127.0.0.1", "-p", front, "-t", "1", "-P", "2", direction},
                        directory);
    }
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(http, *boost::unit_test::precondition(have({"nginx", "wrk", "curl"}))) {
    const TempDir directory;
    const uint16_t port = free_port();
    std::string page(32 << 20, '\0');
    Pattern(11).fill(0, page.data(), page.size());
    directory.write("page", page);
    const std::string file = directory.write(
        "nginx.conf",
        fmt::format("daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error; {2}\n"
                    "events {{}}\nhttp {{ access_log off; server {{ listen 127.0.0.1:{1}; root {0};\n"
                    "  location = /hello {{ return 200 hello; }} }} }}\n",
                    directory.path(), port, geteuid() == 0 ? "user root;" : ""));
    const Server server({program("nginx"), "-c", file}, port, directory);
    TestDaemon daemon(config(port));
    const std::string url = "http://" + daemon.address("front").text();
    const std::string text = run_under_kills(
        daemon, {program("wrk"), "-t", "1", "-c", "50", "-d", "1s", url + "/hello"}, directory);
    BOOST_CHECK_MESSAGE(text.find("Socket errors") == std::string::npos, text);
    BOOST_CHECK_MESSAGE(text.find("Non-2xx") == std::string::npos, text);
    run_under_kills(daemon,
                    {program("curl"), "-sS", "--limit-rate", "40M", "-o", directory / "copy", url + "/page"},
                    directory);
    BOOST_CHECK(read_text(directory / "copy") == page);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(postgres,
                     *boost::unit_test::precondition(is_root) *
                         boost::unit_test::precondition(have({"initdb", "postgres", "pgbench", "setpriv"}))) {
    const TempDir directory;
    const uint16_t port = free_port();
    const std::string data = directory / "data";
    const std::vector<std::string> as_postgres = {"setpriv", "--reuid=postgres", "--regid=postgres",
                                                  "--clear-groups"};
    const auto command = [&](const std::vector<std::string>& words) {
        std::vector<std::string> all = as_postgres;
        all.insert(all.end(), words.begin(), words.end());
        return all;
    };
    BOOST_REQUIRE(run({"chown", "postgres", directory.path()}).exit == 0);
    const Output made =
        run(command({program("initdb"), "-D", data, "-A", "trust", "--no-sync", "-U", "bench"}));
    BOOST_REQUIRE_MESSAGE(made.exit == 0, made.err);
    const Server server(command({program("postgres"), "-D", data, "-p", std::to_string(port), "-k",
                                 directory.path(), "-c", "fsync=off"}),
                        port, directory);
    TestDaemon daemon(config(port));
    const std::string front = std::to_string(daemon.address("front").port());
    const std::vector<std::string> to_front = {
        program("pgbench"), "-h", "127.0.0.1", "-p", front, "-U", "bench"};
    std::vector<std::string> fill = to_front, load = to_front;
    fill.insert(fill.end(), {"-i", "-q", "postgres"});
    load.insert(load.end(), {"-c", "8", "-T", "2", "postgres"});
    run_under_kills(daemon, fill, directory);
    const std::string text = run_under_kills(daemon, load, directory);
    BOOST_CHECK_MESSAGE(text.find("aborted") == std::string::npos, text);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
