// The limit of open files: however many clients there are, a worker has the descriptors that a renewal, a new log and
// a control message take; what can't be had is refused with numbers, and nobody is lost by it.

#include <sys/resource.h>

#include <cstdlib>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "tests/support/blocking_client.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr rlim_t kFiles = 432;
using Clients = std::vector<std::unique_ptr<BlockingClient>>;

std::string config_at(size_t addresses) {
    std::string listen;
    for (size_t i = 0; i < addresses; ++i) listen += (i == 0 ? "" : ", ") + std::string("\"127.0.0.1:0\"");
    std::string text = "workers: 1\nlisteners:\n";
    text += "  first: {listen: \"127.0.0.1:0\", handler: echo}\n";
    if (addresses > 0) text += "  more: {listen: [" + listen + "], handler: echo}\n";
    return text;
}

void write_config(const TestDaemon& daemon, const std::string& text) {
    std::ofstream(daemon.config_path()) << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\n" << text;
}

// More clients than there is room for; those of them that are served.
Clients fill(const TestDaemon& daemon, size_t room) {
    const Address address = daemon.address("first");
    Clients served;
    while (served.size() < room) {
        served.push_back(std::make_unique<BlockingClient>(address));
        BOOST_REQUIRE(served.back()->echoes("hello"));
    }
    return served;
}

void check_served(const Clients& clients) {
    size_t served = 0;
    for (const auto& client : clients) served += client->echoes("still here") ? 1 : 0;
    BOOST_CHECK_EQUAL(served, clients.size());
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

size_t room_of(const TestDaemon& daemon) {
    const std::string text = daemon.status().text(), name = "connection_room ";
    return std::stoul(text.substr(text.find(name) + name.size()));
}

// False: it may not be changed.
bool limit_files(pid_t pid, rlim_t files) {
    rlimit limit{};
    if (::prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) != 0) return false;
    limit.rlim_cur = files;
    return ::prlimit(pid, RLIMIT_NOFILE, &limit, nullptr) == 0;
}

// Of which the kernel has room in the process's table now.
size_t table_size(pid_t pid) {
    const std::string text = read_text("/proc/" + std::to_string(pid) + "/status"), name = "FDSize:";
    return std::stoul(text.substr(text.find(name) + name.size()));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(descriptors)

BOOST_AUTO_TEST_CASE(clients_at_many_addresses_leave_what_renewals_need) {
    TestDaemon daemon(DaemonOptions{.config = config_at(62), .open_files = kFiles});
    const size_t room = room_of(daemon);
    BOOST_REQUIRE_LT(room, kFiles - 16 - 63);
    Clients clients = fill(daemon, room);
    const BlockingClient waits(daemon.address("first"));
    wait_for("a pause", [&] { return daemon.count_in_err("could not accept") > 0; });
    for (const char* verb : {"reopen", "reload", "upgrade"}) {
        const Output done = daemon.verb(verb);
        BOOST_TEST_CONTEXT(verb << ": " << done.err) BOOST_CHECK_EQUAL(done.exit, 0);
    }
    check_served(clients);
    daemon.check_nothing_lost();
}

// More listening sockets than its worker has descriptors for beside its clients; and for any client at all.
BOOST_AUTO_TEST_CASE(a_reload_that_needs_more_than_there_are_is_refused_with_numbers) {
    TestDaemon daemon(DaemonOptions{.config = config_at(0), .open_files = kFiles});
    Clients clients = fill(daemon, room_of(daemon));
    std::string many;
    for (size_t i = 0; i < 2; ++i) {
        many = "workers: 1\nlisteners:\n  first: {listen: \"127.0.0.1:0\", handler: echo}\n";
        const size_t stanzas = i == 0 ? 2 : 5;
        const std::string listen = config_at(60);
        for (size_t n = 0; n < stanzas; ++n) {
            const size_t at = listen.find("  more: ");
            many += "  m" + std::to_string(n) + listen.substr(at + 6);
        }
        write_config(daemon, many);
        const Output refused = daemon.verb("reload");
        BOOST_TEST_CONTEXT(refused.err) {
            BOOST_CHECK_NE(refused.exit, 0);
            BOOST_CHECK(contains(refused.err, i == 0 ? "need" : "needs"));
            BOOST_CHECK(contains(refused.err, std::to_string(kFiles)));
        }
        check_served(clients);
    }
    write_config(daemon, config_at(0));
    BOOST_CHECK_EQUAL(daemon.verb("reload").exit, 0);
    check_served(clients);
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_limit_without_room_for_a_connection_is_an_error_at_the_start) {
    TestDaemon daemon(DaemonOptions{.config = config_at(0), .open_files = 80, .wait_ready = false});
    daemon.expect_any_exit();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 71);
    BOOST_TEST_CONTEXT(daemon.err())
    BOOST_CHECK(contains(daemon.err(), "each worker may have 80 descriptors"));
}

// A shared table that grows stops all connections of its slot for milliseconds.
BOOST_AUTO_TEST_CASE(the_table_has_its_full_size_before_the_first_connection) {
    TestDaemon daemon(DaemonOptions{.config = config_at(0), .open_files = 2'000});
    BOOST_CHECK_GE(table_size(daemon.pids(0).worker), 2'000U);
    daemon.kill_worker(0);
    BOOST_CHECK_GE(table_size(daemon.pids(0).worker), 2'000U);
}

// A sanitizer takes descriptors itself when it looks at an object.
BOOST_AUTO_TEST_CASE(a_worker_that_can_take_no_descriptor_says_so) {
    if (getenv("TCPD_SANITIZED") != nullptr) return;
    TestDaemon daemon(DaemonOptions{.config = config_at(0), .open_files = kFiles});
    BlockingClient client(daemon.address("first"));
    BOOST_REQUIRE(client.echoes("hello"));
    const pid_t worker = daemon.pids(0).worker;
    if (!limit_files(worker, 10)) {
        BOOST_TEST_MESSAGE("skipped: the limit of another process can't be changed here");
        return;
    }
    for (const char* verb : {"reopen", "reload"}) {
        const Output refused = daemon.verb(verb);
        BOOST_TEST_CONTEXT(verb << ": " << refused.err << daemon.err()) {
            BOOST_CHECK_EQUAL(refused.exit, 71);
            // Of a hand-over either side may be heard first; the log has the cause.
            BOOST_CHECK(contains(refused.err, "the slot goes on with the former one") ||
                        contains(refused.err, "a descriptor could not be passed on") ||
                        contains(refused.err, "the other process went away in the middle"));
        }
        BOOST_CHECK(client.echoes("still here"));
    }
    BOOST_CHECK_GE(
        daemon.count_in_err("could not take a descriptor that came with a message: Too many open files"), 2U);
    BOOST_CHECK_EQUAL(daemon.pids(0).worker, worker);
    BOOST_REQUIRE(limit_files(worker, kFiles));
    for (const char* verb : {"reopen", "reload"}) BOOST_CHECK_EQUAL(daemon.verb(verb).exit, 0);
    BOOST_CHECK(client.echoes("still here"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
