#pragma once

// A program that a test starts, in a process group of its own, with its output in files. Owns the process:
// its destructor ends the whole group. Runs in the test's process, which may have threads: between fork and
// exec only async-signal-safe calls are made. Source: fork(2), signal-safety(7), setpgid(2).

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "tests/support/wait.h"

namespace tcpd::test {

struct Start {
    std::vector<std::string> argv;
    std::vector<std::string> environment;  // "NAME=value", added to this process's own
    std::string out_path = "/dev/null";
    std::string err_path = "/dev/null";
    int pass_fd = -1;       // becomes descriptor kPassedFd
    rlim_t open_files = 0;  // 0: unchanged
    rlim_t core_bytes = 0;
};
inline constexpr int kPassedFd = 9;

class ChildProcess {
public:
    explicit ChildProcess(const Start& start);
    ChildProcess(const ChildProcess&) = delete;
    ~ChildProcess();

    pid_t pid() const { return pid_; }
    void send(int signal_number) const;
    // Exit code, or 128 + signal; nothing: it still runs.
    std::optional<int> poll_exit();
    // Throws Failed when it does not end in time.
    int wait_exit(Milliseconds limit = kPatience);
    // SIGKILL for every process of the group.
    void end_group();

private:
    pid_t pid_ = -1;
    std::optional<int> exit_;
};

struct Output {
    int exit = -1;
    std::string out, err;
};
// The tcpd that is tested: the environment's TCPD_BINARY, else the one that was built with the tests.
std::string tested_program();
// Runs a program to its end.
Output run(const std::vector<std::string>& argv, const std::vector<std::string>& environment = {});

// A directory under /tmp, removed with all it holds.
class TempDir {
public:
    TempDir();
    TempDir(const TempDir&) = delete;
    ~TempDir();
    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    std::string write(const std::string& name, const std::string& text) const;

private:
    std::string path_;
};

}  // namespace tcpd::test
