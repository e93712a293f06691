#include "master/listen/inherited.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

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

// Between colons; fewer than descriptors: the rest has none.
std::vector<std::string> split_names(std::string_view text, size_t count) {
    std::vector<std::string> names;
    while (!text.empty() && names.size() < count) {
        const size_t end = std::min(text.find(':'), text.size());
        names.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    names.resize(count, kNoName);
    return names;
}

bool listens_for_streams(int fd) {
    int listens = 0, type = 0;
    socklen_t length = sizeof listens;
    return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens == 1 &&
           ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

std::string listed(const std::vector<InheritedSocket>& sockets) {
    if (sockets.empty()) return "it passed none";
    const auto name = [](const InheritedSocket& socket) { return quoted(socket.name); };
    return "it passed " + joined(sockets | std::views::transform(name), ", ");
}

}  // namespace

Result<InheritedSockets> InheritedSockets::from_environment() {
    const std::string pid = take("LISTEN_PID"), count = take("LISTEN_FDS"), names = take("LISTEN_FDNAMES");
    InheritedSockets passed;
    if (count.empty() || pid != std::to_string(::getpid())) return passed;
    const auto number = parse_number(count);
    if (!number || *number > kMostPassed) {
        return Error{ErrorCode::bad_usage,
                     "use LISTEN_FDS",
                     quoted(count),
                     0,
                     fmt::format("it is not a number of descriptors up to {}", kMostPassed),
                     "unset it if no service manager started this"};
    }
    const std::vector<std::string> by_order = split_names(names, *number);
    for (size_t i = 0; i < *number; ++i) {
        const int fd = kFirstPassed + static_cast<int>(i);
        if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
            ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
            return system_error(errno, "use the descriptor that the service manager passed,",
                                std::to_string(fd), "LISTEN_FDS says that it is there");
        }
        passed.sockets_.push_back({by_order[i], UniqueFd(fd)});
    }
    return passed;
}

Result<std::vector<int>> InheritedSockets::named(std::string_view name) const {
    const std::string doing = "listen on the socket that the service manager passes as";
    std::vector<int> found;
    for (const InheritedSocket& socket : sockets_) {
        if (socket.name != name) continue;
        if (!listens_for_streams(socket.fd.get())) {
            return Error{ErrorCode::bad_format,
                         doing,
                         quoted(name),
                         0,
                         "it is no socket that listens for streams",
                         "the .socket unit needs ListenStream= and Accept=no"};
        }
        found.push_back(socket.fd.get());
    }
    if (!found.empty()) return found;
    return Error{
        ErrorCode::not_found,
        doing,
        quoted(name),
        0,
        listed(sockets_),
        fmt::format("set FileDescriptorName={} in the .socket unit, and start that unit first", name)};
}

}  // namespace tcpd::master
