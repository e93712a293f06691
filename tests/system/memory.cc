// In a control group that limits memory: clients that do not read fill what memory.total leaves to them, and nobody is
// killed; what else eats the group costs a worker at most, and no connection.

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <memory>

#include "tests/support/blocking_client.h"
#include "tests/support/memory_group.h"
#include "tests/support/test_daemon.h"
#include "tests/support/wait.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr uint64_t kMiB = 1024 * 1024;
constexpr int kClients = 300;
constexpr const char* kConfig =
    "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\nsupervisor: {watchdog: 0}\n";

DaemonOptions in_group(const MemoryGroup& group, const std::string& config = kConfig) {
    return {.config = config, .prefix = group.prefix()};
}

// Clients that send as much as is taken, and read nothing.
class Crowd {
public:
    explicit Crowd(const TestDaemon& daemon) : daemon_(daemon) {
        const Address address = daemon.address("echo");
        for (int i = 0; i < kClients; ++i) {
            clients_.push_back(std::make_unique<BlockingClient>(
                address, ClientOptions{.receive_buffer = 4096, .segment = 536}));
            constexpr int kSmall = 16384;
            setsockopt(clients_.back()->fd(), SOL_SOCKET, SO_SNDBUF, &kSmall, sizeof kSmall);
        }
        taken_.resize(clients_.size());
    }
    // Until nobody's bytes are taken any more and `used` buffers are in use.
    void send_until_full(uint64_t used) {
        int idle_rounds = 0;
        wait_for(
            "the buffers to be full",
            [&] {
                idle_rounds = send_round() ? 0 : idle_rounds + 1;
                return idle_rounds > 10 && memory("memory_used") >= used;
            },
            60s);
    }
    // Each gets back all that it sent.
    void check_all_echoed() const {
        for (size_t i = 0; i < clients_.size(); ++i) {
            clients_[i]->end_output();
            BOOST_TEST(clients_[i]->receive_all().size() == taken_[i]);
        }
    }
    // "tcpd NAME NUMBER" of the status.
    uint64_t memory(const std::string& name) const {
        const std::string text = daemon_.status().text();
        const size_t at = text.find("tcpd " + name + " ");
        BOOST_REQUIRE(at != std::string::npos);
        return std::stoull(text.substr(at + 6 + name.size()));
    }

private:
    bool send_round() {
        static const std::string zeroes(16384, '\0');
        bool any = false;
        for (size_t i = 0; i < clients_.size(); ++i) {
            const ssize_t sent =
                ::send(clients_[i]->fd(), zeroes.data(), zeroes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN) throw Failed("a connection is gone");
            if (sent <= 0) continue;
            taken_[i] += static_cast<size_t>(sent);
            any = true;
        }
        return any;
    }

    const TestDaemon& daemon_;
    std::vector<std::unique_ptr<BlockingClient>> clients_;
    std::vector<size_t> taken_;
};

int oom_score(pid_t pid) {
    int score = -9999;
    std::ifstream("/proc/" + std::to_string(pid) + "/oom_score_adj") >> score;
    return score;
}

// Something else takes memory without end, until the kernel ends it.
void eat(const MemoryGroup& group) {
    std::vector<std::string> hog = group.prefix();
    for (const char* word : {"tail", "/dev/zero"}) hog.emplace_back(word);
    BOOST_TEST(ChildProcess({.argv = hog}).wait_exit(60s) == 128 + SIGKILL);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(memory, *boost::unit_test::precondition(can_limit_memory))

BOOST_AUTO_TEST_CASE(clients_that_do_not_read_end_nobody) {
    const MemoryGroup group(40 * kMiB);
    TestDaemon daemon(in_group(group));
    Crowd crowd(daemon);
    const Pids before = daemon.pids(0);
    crowd.send_until_full(19 * kMiB);
    BOOST_TEST(crowd.memory("memory_total") == 19 * kMiB);
    BOOST_TEST(group.used_bytes() < 36 * kMiB);
    BlockingClient one_more(daemon.address("echo"));
    BOOST_TEST(one_more.echoes("hello"));
    BOOST_TEST(group.kills() == 0u);
    BOOST_TEST(daemon.pids(0).worker == before.worker);
    crowd.check_all_echoed();
    daemon.check_nothing_lost();
    BOOST_TEST(daemon.count_in_err("buffers may take 19MiB (memory.total: auto): 60 % of the 40MiB") == 1u);
}

// A worker may go first; its death frees little, since the bytes live on, and then what eats goes.
BOOST_AUTO_TEST_CASE(what_eats_the_group_costs_no_connection) {
    const MemoryGroup group(40 * kMiB);
    TestDaemon daemon(in_group(group));
    wait_for("the worker's score",
             [&] { return oom_score(daemon.pids(0).worker) > oom_score(daemon.master()); });
    Crowd crowd(daemon);
    crowd.send_until_full(19 * kMiB);
    eat(group);
    daemon.wait_complete(1);
    BOOST_TEST(group.kills() >= 1u);
    BOOST_TEST(!daemon.has_ended());
    const Pids pids = daemon.pids(0);
    wait_for("the successor's score", [&] { return oom_score(pids.worker) > oom_score(daemon.master()); });
    BOOST_TEST(oom_score(pids.standby) < oom_score(pids.worker));
    crowd.check_all_echoed();
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(a_limit_that_changed_is_looked_at_at_a_reload) {
    const MemoryGroup group(40 * kMiB);
    TestDaemon daemon(in_group(group));
    group.limit(100 * kMiB);
    BOOST_TEST(daemon.verb("reload").exit == 0);
    BOOST_TEST(daemon.count_in_err("60 % of the 100MiB that control group") == 1u);
    BOOST_TEST(daemon.verb("reload").exit == 0);
    BOOST_TEST(daemon.count_in_err("60 % of the 100MiB that control group") == 1u);
    BOOST_TEST(daemon.verb("upgrade").exit == 0);
    BOOST_TEST(daemon.status().text().find("tcpd memory_total 56623104\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(too_little_and_none_are_said) {
    const MemoryGroup group(12 * kMiB);
    {
        TestDaemon daemon(in_group(group, fmt::format("memory: {{total: 0}}\n{}", kConfig)));
        BOOST_TEST(daemon.count_in_err("buffers have no limit (memory.total: 0), but control group") == 1u);
        BOOST_TEST(daemon.status().text().find("tcpd memory_total 0\n") != std::string::npos);
    }
    group.limit(6 * kMiB);
    TestDaemon daemon(in_group(group));
    BOOST_TEST(daemon.count_in_err("allows 6MiB, which leaves nothing for buffers") == 1u);
    BOOST_TEST(daemon.status().text().find("tcpd memory_total 1048576\n") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(memory_of_a_process)

// What a start says that a limit of the process stops. A sanitizer does not start below such limits.
std::string failed_start(const std::string& limit) {
    const TempDir directory;
    const std::string config = directory.write("tcpd.yaml", kConfig);
    const Output output =
        run({"sh", "-c", "ulimit " + limit + " && exec \"$0\" -c \"$1\"", tested_program(), config});
    BOOST_TEST(output.exit == 71);
    return output.err;
}

BOOST_AUTO_TEST_CASE(limits_of_address_space_and_files_are_named) {
    if (is_sanitized()) return;
    for (const char* small : {"100000", "400000"})
        BOOST_TEST(failed_start(std::string("-v ") + small).find("raise ulimit -v") != std::string::npos);
    BOOST_TEST(failed_start("-f 1000").find("raise ulimit -f") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
