#pragma once

// Watches that the processes of a test do not multiply: a daemon that clones standbys without end fills a
// machine in seconds. Ends the whole process group then. A thread of the test's process; owns only itself.

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace tcpd::test {

class GroupGuard {
public:
    // `leader` is the master: its children are counted, and the machine's tasks for the case that it is gone.
    explicit GroupGuard(pid_t leader);
    GroupGuard(const GroupGuard&) = delete;
    ~GroupGuard();
    bool has_acted() const { return acted_; }

private:
    void watch();
    bool is_too_many() const;

    pid_t leader_;
    size_t tasks_at_start_;
    std::mutex mutex_;
    std::condition_variable end_;
    bool ends_ = false;
    std::atomic<bool> acted_{false};
    std::thread thread_;
};

}  // namespace tcpd::test
