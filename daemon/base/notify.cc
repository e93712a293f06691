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

#include "daemon/base/log.h"
#include "daemon/base/text.h"

namespace tcpd {

namespace {

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
    Result<UniqueFd> descriptor = take_descriptor(notify_fd);
    if (!descriptor) return std::move(descriptor.error());
    ServiceManager manager;
    manager.socket_path_ = std::move(*path);
    manager.notify_fd_ = std::move(*descriptor);
    return manager;
}

void ServiceManager::show_environment() const {
    if (!socket_path_.empty()) setenv("NOTIFY_SOCKET", socket_path_.c_str(), 1);
}

void ServiceManager::hide_environment() const { unsetenv("NOTIFY_SOCKET"); }

void ServiceManager::ready(std::string_view status) {
    send("READY=1\nSTATUS=" + one_line(status));
    if (!notify_fd_) return;
    if (write(notify_fd_.get(), "\n", 1) != 1) {
        log::warn("{}", system_error(errno, "tell the descriptor of --notify-fd that tcpd is ready").text());
    }
    notify_fd_.reset();
}

void ServiceManager::stopping() { send("STOPPING=1"); }

void ServiceManager::status(std::string_view line) { send("STATUS=" + one_line(line)); }

void ServiceManager::send(std::string_view message) {
    if (socket_path_.empty()) return;
    UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    timeval patience{1, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    SocketName name = to_name(socket_path_);
    ssize_t sent = sendto(socket.get(), message.data(), message.size(), MSG_NOSIGNAL,
                          reinterpret_cast<const sockaddr*>(&name.address), name.length);
    if (sent >= 0) return;
    log::limited(log::Level::warn, "notify", "{}",
                 system_error(errno, "tell the service manager at", socket_path_).text());
}

}  // namespace tcpd
