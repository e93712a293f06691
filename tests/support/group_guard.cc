#include "tests/support/group_guard.h"

#include <signal.h>

#include "tests/support/process_view.h"
#include "tests/support/wait.h"

namespace tcpd::test {
namespace {

constexpr size_t kMostChildren = 130;  // 64 slots of two
constexpr size_t kMostNewTasks = 3000;

}  // namespace

GroupGuard::GroupGuard(pid_t leader)
    : leader_(leader), tasks_at_start_(tasks_on_machine()), thread_([this] { watch(); }) {}

GroupGuard::~GroupGuard() {
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    end_.notify_all();
    thread_.join();
}

bool GroupGuard::is_too_many() const {
    return children_of(leader_).size() > kMostChildren ||
           tasks_on_machine() > tasks_at_start_ + kMostNewTasks;
}

void GroupGuard::watch() {
    std::unique_lock lock(mutex_);
    while (!ends_) {
        if (is_too_many()) {
            acted_ = true;
            kill(-leader_, SIGKILL);
        }
        end_.wait_for(lock, 50ms);
    }
}

}  // namespace tcpd::test
