#include "daemon/base/notify.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"

namespace tcpd {

namespace {

constexpr uint64_t kReportNs = 5'000'000'000;
constexpr size_t kMaxUnsent = 16;
constexpr uint64_t kExtensionUs = 20'000'000;  // four reports: one may be late

struct SocketName {
    sockaddr_un address{};
    socklen_t length = 0;
};

SocketName to_name(const std::string& path) {
    SocketName name;
    name.address.sun_family = AF_UNIX;
    memcpy(name.address.sun_path, path.data(), path.size());
    if (path[0] == '@') name.address.sun_path[0] = '\0';
    name.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    return name;
}

Result<std::string> take_socket_path() {
    const char* value = getenv("NOTIFY_SOCKET");
    std::string path = value ? value : "";
    unsetenv("NOTIFY_SOCKET");
    if (path.empty()) return path;
    bool is_usable =
        (path[0] == '/' || path[0] == '@') && path.size() > 1 && path.size() < sizeof(sockaddr_un::sun_path);
    if (is_usable) return path;
    return Error{ErrorCode::bad_usage,
                 "use NOTIFY_SOCKET",
                 quoted(path),
                 0,
                 "it is neither an absolute path nor an abstract name of at most 107 bytes",
                 "unset it if no service manager started this"};
}

// 0: none. Meant for another process if there is a PID that is not ours.
Result<uint64_t> take_watchdog() {
    const char* value = getenv("WATCHDOG_USEC");
    const char* meant_for = getenv("WATCHDOG_PID");
    const std::string interval = value ? value : "", pid = meant_for ? meant_for : "";
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    if (interval.empty() || (!pid.empty() && pid != std::to_string(getpid()))) return uint64_t{0};
    const auto number = parse_number(interval);
    if (number && *number > 0) return *number;
    return Error{ErrorCode::bad_usage,
                 "use WATCHDOG_USEC",
                 quoted(interval),
                 0,
                 "it is not a number of microseconds",
                 "unset it if no service manager started this"};
}

// A watchdog hears twice in its time.
uint64_t report_interval_ns(uint64_t watchdog_us) {
    return watchdog_us == 0 ? kReportNs : std::min(kReportNs, watchdog_us * 1000 / 2);
}

Result<UniqueFd> take_descriptor(int fd) {
    if (fd < 0) return UniqueFd();
    std::string hint = "open it for writing, as in --notify-fd 3 3>ready";
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_ACCMODE) == O_RDONLY) errno = EBADF;
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
        return system_error(errno, "use --notify-fd", std::to_string(fd), hint);
    }
    if (fd <= STDERR_FILENO) {
        UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
        if (!copy) return system_error(errno, "copy the descriptor of --notify-fd", std::to_string(fd));
        return copy;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return UniqueFd(fd);
}

std::string one_line(std::string_view text) {
    std::string line(text);
    std::replace(line.begin(), line.end(), '\n', ' ');
    return line;
}

}  // namespace

Result<ServiceManager> ServiceManager::from_environment(int notify_fd) {
    Result<std::string> path = take_socket_path();
    if (!path) return std::move(path.error());
    Result<uint64_t> watchdog = take_watchdog();
    if (!watchdog) return std::move(watchdog.error());
    Result<UniqueFd> descriptor = take_descriptor(notify_fd);
    if (!descriptor) return std::move(descriptor.error());
    ServiceManager manager;
    manager.socket_path_ = std::move(*path);
    if (manager.is_there()) {
        manager.watchdog_us_ = *watchdog;
        manager.next_report_ns_ = 0;
    }
    manager.notify_fd_ = std::move(*descriptor);
    return manager;
}

void ServiceManager::show_environment() const {
    if (!socket_path_.empty()) setenv("NOTIFY_SOCKET", socket_path_.c_str(), 1);
    if (watchdog_us_ > 0) setenv("WATCHDOG_USEC", std::to_string(watchdog_us_).c_str(), 1);
}

void ServiceManager::hide_environment() const {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
}

// Empty if it is the one that was told last.
std::string ServiceManager::status_line(std::string_view status) {
    std::string line = one_line(status);
    if (line == told_status_) return {};
    told_status_ = line;
    return "STATUS=" + line + "\n";
}

void ServiceManager::ready(std::string_view status) {
    send("READY=1\n" + status_line(status));
    if (!notify_fd_) return;
    if (write(notify_fd_.get(), "\n", 1) != 1) {
        log::warn("{}", system_error(errno, "tell the descriptor of --notify-fd that tcpd is ready").text());
    }
    notify_fd_.reset();
}

// One message: systemd takes the time for that of the beginning.
void ServiceManager::reloading(std::string_view status) {
    send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_ns() / 1000) + "\n" + status_line(status));
}

void ServiceManager::stopping(std::string_view status) { send("STOPPING=1\n" + status_line(status)); }

void ServiceManager::report(uint64_t now_ns, std::string_view status, bool takes_long) {
    std::string message;
    if (watchdog_us_ > 0) message += "WATCHDOG=1\n";
    if (takes_long) message += "EXTEND_TIMEOUT_USEC=" + std::to_string(kExtensionUs) + "\n";
    message += status_line(status);
    if (!send_unsent() || !try_send(message)) told_status_.clear();
    next_report_ns_ = now_ns + report_interval_ns(watchdog_us_);
}

void ServiceManager::send(const std::string& message) {
    if (!send_unsent() || !try_send(message)) unsent_.push_back(message);
    if (unsent_.size() > kMaxUnsent) unsent_.erase(unsent_.begin());
}

bool ServiceManager::send_unsent() {
    while (!unsent_.empty() && try_send(unsent_.front())) unsent_.erase(unsent_.begin());
    return unsent_.empty();
}

bool ServiceManager::try_send(const std::string& message) const {
    if (message.empty() || !is_there()) return true;
    UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    timeval patience{1, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    SocketName name = to_name(socket_path_);
    ssize_t sent = sendto(socket.get(), message.data(), message.size(), MSG_NOSIGNAL,
                          reinterpret_cast<const sockaddr*>(&name.address), name.length);
    if (sent >= 0) return true;
    log::limited(log::Level::warn, "notify", "{}",
                 system_error(errno, "tell the service manager at", socket_path_).text());
    return false;
}

}  // namespace tcpd
