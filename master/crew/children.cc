#include "master/crew/children.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

#include "daemon/base/process.h"
#include "daemon/slot/control_message.h"

namespace tcpd::master {

namespace {

const char* name_of(Part part) {
    switch (part) {
        case Part::image: return "image";
        case Part::worker:
        case Part::former: return "worker";
        case Part::standby: return "standby";
    }
    return "child";
}

int wait_for(idtype_t kind, pid_t pid, siginfo_t& info, int flags) {
    int result = 0;
    do {
        info.si_pid = 0;
        result = ::waitid(kind, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | flags);
    } while (result != 0 && errno == EINTR);
    return result;
}

}  // namespace

bool Death::is_clean() const { return code == CLD_EXITED && status == 0; }

std::string Death::text() const {
    if (code == CLD_EXITED && status == slot::kExitLeftSeat) return "left its seat, told by SIGTERM";
    return describe_exit(code, status);
}

std::string describe(const Child& child) { return fmt::format("{} {}", name_of(child.part), child.slot); }

std::optional<Death> Children::look() {
    siginfo_t info{};
    if (wait_for(P_ALL, 0, info, WNOWAIT) != 0 || info.si_pid == 0) return std::nullopt;
    return Death{info.si_pid, info.si_code, info.si_status};
}

void Children::reap(pid_t pid) {
    siginfo_t info{};
    wait_for(P_PID, pid, info, 0);
}

std::optional<Children::Stop> Children::look_stopped() {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WSTOPPED | WNOHANG) != 0 || info.si_pid == 0) return std::nullopt;
    return Stop{info.si_pid, info.si_status};
}

bool Children::is_child(pid_t pid) {
    siginfo_t info{};
    return pid > 0 && wait_for(P_PID, pid, info, WNOWAIT) == 0;
}

bool Children::claim(const Child& wanted, uint64_t now) {
    if (!is_child(wanted.pid)) return false;
    auto [at, is_new] = children_.try_emplace(wanted.pid, wanted);
    Child& child = at->second;
    if (child.slot != wanted.slot) return false;
    if (is_new) child.known_ns = now;
    child.part = wanted.part;
    child.held_seat = child.held_seat || wanted.part == Part::worker || wanted.part == Part::former;
    return true;
}

const Child* Children::find(pid_t pid) const {
    const auto at = children_.find(pid);
    return at == children_.end() ? nullptr : &at->second;
}

std::vector<Child> Children::all() const {
    std::vector<Child> list;
    for (const auto& [pid, child] : children_) list.push_back(child);
    return list;
}

void Children::take_over(const std::vector<Child>& children) {
    for (const Child& child : children) {
        if (is_child(child.pid)) children_[child.pid] = child;
    }
}

std::vector<pid_t> Children::of_slot(uint32_t slot) const {
    std::vector<pid_t> pids;
    for (const auto& [pid, child] : children_) {
        if (child.slot == slot) pids.push_back(pid);
    }
    return pids;
}

bool Children::send_signal(pid_t pid, uint32_t slot, int signal_number) const {
    const Child* child = find(pid);
    return child != nullptr && child->slot == slot && is_child(pid) && ::kill(pid, signal_number) == 0;
}

}  // namespace tcpd::master
