#include "master/control_peer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "master/crew/children.h"

namespace tcpd::master {

namespace {

#ifndef SO_PEERPIDFD
constexpr int kPeerPidfd = 77;
#else
constexpr int kPeerPidfd = SO_PEERPIDFD;
#endif

constexpr int kMostAncestors = 128;

// The descriptor of the very process that connected; by its number where the kernel has no better.
UniqueFd open_process(int socket, pid_t pid) {
    int fd = -1;
    socklen_t length = sizeof fd;
    if (::getsockopt(socket, SOL_SOCKET, kPeerPidfd, &fd, &length) == 0) return UniqueFd(fd);
    if (errno != ENOPROTOOPT) return UniqueFd();
    return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

// 0: none that can be seen. A process's name may hold any byte, a parenthesis, too.
pid_t parent_of(pid_t pid) {
    const UniqueFd file(::open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC));
    char text[512];
    const ssize_t size = file ? ::read(file.get(), text, sizeof text - 1) : -1;
    if (size <= 0) return 0;
    text[size] = '\0';
    const char* name_end = std::strrchr(text, ')');
    if (name_end == nullptr || std::strlen(name_end) < 4) return 0;
    return static_cast<pid_t>(std::strtol(name_end + 4, nullptr, 10));
}

// 0: this process.
bool has_any_capability(pid_t pid) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, pid};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
    if (::syscall(SYS_capget, &header, sets) != 0) return false;
    return (sets[0].effective | sets[1].effective) != 0;
}

}  // namespace

bool descends_from_this_process(pid_t pid) {
    if (Children::is_child(pid)) return true;
    const pid_t own = ::getpid();
    for (int i = 0; i < kMostAncestors; ++i) {
        pid = parent_of(pid);
        if (pid == own) return true;
        if (pid <= 1) return false;
    }
    return true;
}

Result<ControlPeer> ControlPeer::of(int socket) {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return system_error(errno, "ask who is at the other end of the control socket");
    if (peer.pid <= 0) return ControlPeer(0, peer.uid, {});
    UniqueFd process = open_process(socket, peer.pid);
    if (!process && is_local_fault(errno))
        return system_error(errno, "watch the process that asks", std::to_string(peer.pid));
    return ControlPeer(peer.pid, peer.uid, std::move(process));
}

std::string ControlPeer::text() const { return fmt::format("pid {} of user {}", pid_, uid_); }

bool ControlPeer::is_gone() const {
    if (pid_ == 0) return false;
    pollfd process{process_.get(), POLLIN, 0};
    return !process_ || ::poll(&process, 1, 0) != 0;
}

Error ControlPeer::refusal(std::string reason, std::string hint) const {
    return {.code = ErrorCode::no_permission,
            .reason = text() + " may ask tcpd nothing: " + std::move(reason),
            .hint = std::move(hint)};
}

Result<void> ControlPeer::judge() const {
    const uid_t own = ::geteuid();
    if (uid_ != 0 && uid_ != own)
        return refusal("it is neither root nor the user of the master",
                       fmt::format("ask as root, or as user {}", own));
    if (is_gone()) return refusal("it has ended", "wait for the answer");
    if (pid_ == 0) return {};
    if (descends_from_this_process(pid_))
        return refusal("it is a process below the master", "ask from a process that tcpd has not started");
    if (uid_ == 0 && own == 0 && !has_any_capability(pid_) && has_any_capability(0))
        return refusal("it is root without any of root's rights", "ask as root outside of a sandbox");
    return is_gone() ? Result<void>(refusal("it has ended", "wait for the answer")) : Result<void>();
}

}  // namespace tcpd::master
