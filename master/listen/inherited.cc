#include "master/listen/inherited.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ranges>

#include "daemon/base/text.h"

namespace tcpd::master {

namespace {

constexpr int kFirstPassed = 3;  // SD_LISTEN_FDS_START
constexpr uint64_t kMostPassed = 4096;
constexpr const char* kNoName = "unknown";  // as sd_listen_fds_with_names has it

std::string take(const char* name) {
    const char* value = getenv(name);
    std::string text = value ? value : "";
    unsetenv(name);
    return text;
}

// Between colons, as many as there are.
std::vector<std::string> split_names(std::string_view text) {
    std::vector<std::string> names;
    while (!text.empty() && names.size() < kMostPassed) {
        const size_t end = std::min(text.find(':'), text.size());
        names.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return names;
}

template <typename T>
T option(int fd, int name, T otherwise) {
    T value = otherwise;
    socklen_t length = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : otherwise;
}

// Why it can't be served; empty: it can.
std::string unfit(int fd) {
    const int family = option(fd, SO_DOMAIN, -1), type = option(fd, SO_TYPE, -1);
    const int protocol = option(fd, SO_PROTOCOL, -1);
    if (family < 0) return "it is no socket";
    if (type == SOCK_DGRAM) return "it is a datagram socket";
    if (type != SOCK_STREAM) return fmt::format("it is a socket of type {}, not for streams", type);
    if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
        return fmt::format("it is a socket of address family {}, neither IP nor unix", family);
    if (family != AF_UNIX && protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
        return fmt::format("it is a socket of protocol {}, not TCP", protocol);
    if (option(fd, SO_ACCEPTCONN, 0) != 1) return "it is a stream socket that does not listen";
    return {};
}

std::string listed(const std::vector<InheritedSocket>& sockets) {
    const auto name = [](const InheritedSocket& socket) { return quoted(socket.name); };
    return "it passed " + joined(sockets | std::views::transform(name), ", ");
}

// LISTEN_PID says who the sockets are for; empty: for us.
std::string not_for_us(const std::string& pid, const std::string& count) {
    if (pid.empty() && count.empty()) return "it passed none";
    if (count.empty()) return "it set LISTEN_PID and no LISTEN_FDS";
    if (pid.empty())
        return fmt::format("LISTEN_FDS is {} and LISTEN_PID is not set: who sets one has to set both",
                           quoted(count));
    const auto number = parse_number(pid);
    if (!number) return fmt::format("LISTEN_PID is {}, which is no number", quoted(pid));
    if (*number == static_cast<uint64_t>(::getpid())) return {};
    return fmt::format("LISTEN_PID is {}, this is {}: a wrapper has to exec tcpd", *number, ::getpid());
}

Error bad_count(const std::string& count) {
    return Error{ErrorCode::bad_usage,
                 "use LISTEN_FDS",
                 quoted(count),
                 0,
                 fmt::format("it is not a number of descriptors up to {}", kMostPassed),
                 "unset it if no service manager started this"};
}

}  // namespace

Result<InheritedSockets> InheritedSockets::from_environment() {
    const std::string pid = take("LISTEN_PID"), count = take("LISTEN_FDS"), names = take("LISTEN_FDNAMES");
    InheritedSockets passed;
    passed.why_none_ = not_for_us(pid, count);
    if (!passed.why_none_.empty()) return passed;
    const auto number = parse_number(count);
    if (!number || *number > kMostPassed) return bad_count(count);
    std::vector<std::string> by_order = split_names(names);
    if (by_order.size() != *number)
        passed.odd_names_ =
            fmt::format("LISTEN_FDNAMES has {} names, LISTEN_FDS is {}", by_order.size(), *number);
    by_order.resize(*number, kNoName);
    for (size_t i = 0; i < *number; ++i) {
        const int fd = kFirstPassed + static_cast<int>(i);
        if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
            ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
            return system_error(errno, "use the descriptor that the service manager passed,",
                                std::to_string(fd),
                                fmt::format("LISTEN_FDS is {}, more than are there", *number));
        }
        passed.sockets_.push_back({by_order[i], UniqueFd(fd)});
    }
    if (passed.sockets_.empty()) passed.why_none_ = "LISTEN_FDS is 0";
    return passed;
}

bool InheritedSockets::holds(int fd) const {
    return std::any_of(sockets_.begin(), sockets_.end(),
                       [fd](const InheritedSocket& socket) { return socket.fd.get() == fd; });
}

std::string InheritedSockets::what_was_passed() const {
    if (sockets_.empty()) return why_none_;
    return odd_names_.empty() ? listed(sockets_) : fmt::format("{}; {}", listed(sockets_), odd_names_);
}

std::string InheritedSockets::what_to_do(std::string_view name) const {
    if (sockets_.empty() && why_none_.find("LISTEN_") != std::string::npos)
        return "start tcpd by exec, or by systemd-socket-activate, from where the variables are set";
    return fmt::format("set FileDescriptorName={} in the .socket unit, and start that unit first", name);
}

Result<std::vector<int>> InheritedSockets::named(std::string_view name) const {
    const std::string doing = "listen on the socket that the service manager passes as";
    std::vector<int> found;
    for (const InheritedSocket& socket : sockets_) {
        if (socket.name != name) continue;
        if (std::string reason = unfit(socket.fd.get()); !reason.empty()) {
            return Error{ErrorCode::bad_format, doing,
                         quoted(name),          0,
                         std::move(reason),     "the .socket unit needs ListenStream= and Accept=no"};
        }
        found.push_back(socket.fd.get());
    }
    if (!found.empty()) return found;
    return Error{ErrorCode::not_found, doing, quoted(name), 0, what_was_passed(), what_to_do(name)};
}

}  // namespace tcpd::master
