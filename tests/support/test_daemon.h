#pragma once

// A tcpd of one test's own: real binary, own directory, own process group, port 0, ready by --notify-fd. Owns
// every process of it: the destructor stops the master, checks its exit status, ends what is left and, if the
// test failed, shows what the daemon wrote. A guard thread ends the group when its processes multiply. In the
// config `$DIR` is the test's directory; a pid_file is added where the text names none.

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "daemon/base/net/address.h"
#include "tests/support/child_process.h"
#include "tests/support/group_guard.h"
#include "tests/support/status.h"

namespace tcpd::test {

struct DaemonOptions {
    std::string config;
    std::vector<std::string> arguments;
    std::vector<std::string> environment;
    std::string program = tested_program();
    std::vector<std::string> prefix;  // a program that starts tcpd: setpriv, strace
    rlim_t open_files = 0;
    rlim_t core_bytes = 0;
    bool wait_ready = true;
};

struct Pids {
    pid_t worker = 0, standby = 0;
    bool both() const { return worker != 0 && standby != 0; }
};

struct TwoDeaths {
    SteadyClock::time_point second{};
    bool was_short_life = false;  // for certain: under load it may have been longer
};

class TestDaemon {
public:
    explicit TestDaemon(const DaemonOptions& options);
    explicit TestDaemon(const std::string& config) : TestDaemon(DaemonOptions{.config = config}) {}
    TestDaemon(const TestDaemon&) = delete;
    ~TestDaemon();

    pid_t master() const { return child_->pid(); }
    const TempDir& directory() const { return directory_; }
    std::string config_path() const { return directory_ / "tcpd.yaml"; }
    std::string err() const;  // all that it wrote to stderr so far
    size_t count_in_err(const std::string& text) const;

    // `tcpd -s status`; throws Failed if that exits non-zero.
    Status status() const;
    Output verb(const std::string& verb) const;
    Address address(const std::string& listener, size_t n = 0) const;
    uint64_t count(const std::string& listener, const std::string& what) const {
        return status().count(listener, what);
    }
    uint64_t open_connections() const;

    // From the processes' titles, without a word from the master.
    Pids pids(unsigned slot) const;
    // Master, workers and standbys; orphans too.
    std::vector<pid_t> processes() const;
    // Every slot has one worker and one standby, and serves.
    void wait_complete(unsigned slots) const;

    // SIGKILL to a slot's worker, or another signal; returns once the next holder has the seat and a standby.
    void kill_worker(unsigned slot, int signal_number = SIGKILL) const;
    // SIGKILL to a slot's worker, and to the next one as soon as it has the seat and a standby: a life of
    // less than 200 ms, if this process gets to run; returns once the third has the seat.
    TwoDeaths kill_two_workers(unsigned slot) const;
    // What slot 0 serves goes through every kind of succession: a kill, a reload and an upgrade, a kill
    // behind each. Boost checks that both were done.
    void change_hands() const;
    void send(int signal_number) const { child_->send(signal_number); }
    int wait_exit(Milliseconds limit = kPatience) { return child_->wait_exit(limit); }
    bool has_ended() { return child_->poll_exit().has_value(); }
    // SIGINT, and the exit status that it must end with.
    void stop();
    // The test ended the master itself, in whatever way: the destructor expects no exit status.
    void expect_any_exit() { any_exit_ = true; }

    // The sum over a slot's worker and standby, or the descriptors of the table that they share.
    size_t descriptors(unsigned slot) const;
    uint64_t pss_bytes(unsigned slot) const;

    // Boost checks: nothing lost, nothing untrusted or stuck, no sanitizer's report.
    void check_nothing_lost() const;

private:
    void wait_ready();
    void check_exit();
    void show_output() const;

    TempDir directory_;
    UniqueFd ready_;
    bool any_exit_ = false;
    std::unique_ptr<ChildProcess> child_;
    std::unique_ptr<GroupGuard> guard_;
};

}  // namespace tcpd::test
