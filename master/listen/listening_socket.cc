#include "master/listen/listening_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "daemon/base/log.h"
#include "daemon/base/net/backlog.h"
#include "daemon/base/net/families.h"
#include "daemon/base/net/keepalive.h"
#include "daemon/base/process.h"
#include "master/listen/address_holder.h"

namespace tcpd::master {

namespace {

constexpr uint64_t kProbeLimitNs = 2'000'000'000;
constexpr timespec kProbeAgain{0, 50'000'000};

std::string binding(const conf::Listener& listener) {
    return fmt::format("bind listener \"{}\" to", listener.name);
}

std::string held_hint(const std::optional<Holder>& holder, const conf::Listener& listener) {
    const std::string change = fmt::format("change listeners.{}.listen", listener.name);
    if (!holder) return "stop the other server or " + change;
    return fmt::format("held by {}, pid {}; stop it or {}", holder->name, holder->pid, change);
}

std::string absent_hint(const conf::Listener& listener, const Address& address) {
    const bool is_off = address.family() == AF_INET6 && is_ipv6_switched_off();
    return fmt::format("{}; to listen there before it comes, set listeners.{}.freebind: true",
                       is_off ? "IPv6 is switched off, net.ipv6.conf.all.disable_ipv6 is 1"
                              : "no interface of this machine has this address",
                       listener.name);
}

std::string no_family_hint(const Address& address) {
    return fmt::format(
        "this machine has no IPv{}, or RestrictAddressFamilies= of the unit keeps it away; *:{} takes what "
        "there is",
        address.family() == AF_INET6 ? '6' : '4', address.port());
}

bool is_link_local(const Address& address) {
    return address.family() == AF_INET6 &&
           IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr);
}

std::string hint_for(int sys_errno, const conf::Listener& listener, const Address& address) {
    switch (sys_errno) {
        case EADDRINUSE: return held_hint(find_holder(address), listener);
        case EADDRNOTAVAIL: return absent_hint(listener, address);
        case EAFNOSUPPORT: return no_family_hint(address);
        case EINVAL:
            return is_link_local(address)
                       ? "each interface has such addresses: use one that is not link-local"
                       : "";
        case EMFILE: return "each worker has a socket for each address; raise LimitNOFILE= of the unit";
        case EACCES: return "ports below 1024 need root or CAP_NET_BIND_SERVICE";
        default: return "";
    }
}

Error bind_error(int sys_errno, const conf::Listener& listener, const Address& address) {
    return system_error(sys_errno, binding(listener), address.text(), hint_for(sys_errno, listener, address));
}

bool set(int fd, int level, int option, int value) {
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// The address need not be there yet.
bool set_freebind(int fd, bool six) {
    return six ? set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1) : set(fd, IPPROTO_IP, IP_FREEBIND, 1);
}

bool set_tcp_options(int fd, const conf::Listener& listener) {
    return set(fd, SOL_SOCKET, SO_OOBINLINE, 1) && set(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
           set_keepalive(fd, listener.keepalive);
}

bool is_tcp(int fd) {
    int family = 0;
    socklen_t length = sizeof family;
    return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 && family != AF_UNIX;
}

Result<UniqueFd> open_tcp(const conf::Listener& listener, const Address& address) {
    UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return bind_error(errno, listener, address);
    const bool six = address.family() == AF_INET6;
    if (!set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1) ||
        (six && !set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1)) ||
        (listener.freebind && !set_freebind(fd.get(), six))) {
        return bind_error(errno, listener, address);
    }
    return fd;
}

// SO_REUSEADDR lets a bind pass over connections that are still there, but not over a socket that listens.
int try_bind(const conf::Listener& listener, const Address& address) {
    auto fd = open_tcp(listener, address);
    if (!fd) return fd.error().sys_errno;
    return ::bind(fd->get(), address.get(), address.length()) == 0 ? 0 : errno;
}

uint64_t limit_of(Patience patience) {
    return monotonic_ns() + (patience == Patience::none ? 0 : kProbeLimitNs);
}

}  // namespace

Result<void> probe(const conf::Listener& listener, const Address& address, Patience patience) {
    const uint64_t until = limit_of(patience);
    int sys_errno = 0;
    while ((sys_errno = try_bind(listener, address)) == EADDRINUSE && monotonic_ns() < until) {
        ::nanosleep(&kProbeAgain, nullptr);
    }
    if (sys_errno != 0) return bind_error(sys_errno, listener, address);
    return {};
}

Result<UniqueFd> listen_tcp(const conf::Listener& listener, Address& address) {
    auto opened = open_tcp(listener, address);
    if (!opened) return opened;
    const int fd = opened->get();
    if (!set(fd, SOL_SOCKET, SO_REUSEPORT, 1) || !set_tcp_options(fd, listener) ||
        ::bind(fd, address.get(), address.length()) != 0 ||
        ::listen(fd, static_cast<int>(listener.backlog)) != 0) {
        return bind_error(errno, listener, address);
    }
    auto bound = Address::of_socket(fd);
    if (!bound) return bind_error(bound.error().sys_errno, listener, address);
    address = *bound;
    return opened;
}

// -- unix sockets

namespace {

enum class Found { nothing, stale, live, failed };

struct Look {
    Found found = Found::nothing;
    std::optional<FileId> file;  // where it is stale
    std::optional<Holder> holder;
    int sys_errno = 0;
};

std::optional<Holder> listener_behind(int connected) {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(connected, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return std::nullopt;
    std::string name = name_of_process(peer.pid);
    if (name.empty()) return std::nullopt;
    return Holder{peer.pid, name};
}

Look look_behind(const FileId& file, const Address& address) {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return {.found = Found::failed, .sys_errno = errno};
    if (::connect(fd.get(), address.get(), address.length()) == 0)
        return {.found = Found::live, .holder = listener_behind(fd.get())};
    switch (errno) {
        case ECONNREFUSED: return {.found = Found::stale, .file = file};
        case ENOENT: return {};
        case EAGAIN:
        case EPROTOTYPE: return {.found = Found::live};
        default: return {.found = Found::failed, .sys_errno = errno};
    }
}

// The user that the configuration gives a listener's socket to.
Result<uid_t> owner_of(const conf::UnixSocket& wanted) {
    if (wanted.owner.empty()) return ::geteuid();
    auto user = find_user(wanted.owner);
    if (!user) return std::move(user.error());
    return user->uid;
}

// Whose predecessor may be about to let go.
Result<Look> look_for_a_while(const conf::Listener& listener, const Address& address, const FilePlace& place,
                              Patience patience) {
    auto owner = owner_of(listener.unix_socket);
    if (!owner) return std::move(owner.error());
    const uint64_t until = limit_of(patience);
    for (;;) {
        auto file = find_socket(place, *owner, binding(listener));
        if (!file) return std::move(file.error());
        const Look look = *file ? look_behind(**file, address) : Look{};
        if (look.found != Found::live || monotonic_ns() >= until) return look;
        ::nanosleep(&kProbeAgain, nullptr);
    }
}

// Through the file's descriptor: in its folder others may exchange it. Before listen: until then nobody gets in.
Result<void> set_rights(const conf::Listener& listener, int opened, const UnixFile& file) {
    const conf::UnixSocket& wanted = listener.unix_socket;
    const std::string by_number = fmt::format("/proc/self/fd/{}", opened);
    if (::chmod(by_number.c_str(), wanted.mode.value_or(file.mode)) != 0) {
        return system_error(errno, fmt::format("set the mode of listener \"{}\",", listener.name), file.path);
    }
    auto owner = owner_of(wanted);
    if (!owner) return std::move(owner.error());
    gid_t group = file.group;
    if (!wanted.group.empty()) {
        auto found = find_group(wanted.group);
        if (!found) return std::move(found.error());
        group = *found;
    }
    struct stat now {};
    const bool is_so = ::fstat(opened, &now) == 0 && now.st_uid == *owner && now.st_gid == group;
    if (is_so || ::fchownat(opened, "", *owner, group, AT_EMPTY_PATH) == 0) return {};
    const std::string hint = errno == EPERM && ::geteuid() != 0
                                 ? "only root may give it away; to a group that tcpd's user is a member of: "
                                   "SupplementaryGroups= of the unit"
                                 : "";
    return system_error(errno, fmt::format("set the owner of listener \"{}\",", listener.name), file.path,
                        hint);
}

Result<void> set_rights_in_place(const conf::Listener& listener, const UnixFile& file) {
    auto place = FilePlace::find(file.path);
    if (!place) return std::move(place.error());
    auto opened = open_socket_file(*place, file.id());
    if (!opened) {
        opened.error().hint = "nobody can connect by it; a reload binds it anew once it can be";
        return std::move(opened.error());
    }
    return set_rights(listener, opened->get(), file);
}

Result<UnixListener> bind_unix(const conf::Listener& listener, const FilePlace& place,
                               std::optional<FileId> stale) {
    UnixListener made;
    made.socket.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!made.socket) return system_error(errno, binding(listener), place.path());
    auto file = NewSocketFile::bind(made.socket.get(), place, stale, binding(listener));
    if (!file) return std::move(file.error());
    auto opened = file->open();
    if (!opened) return std::move(opened.error());
    if (auto done = set_rights(listener, opened->get(), file->file()); !done) return std::move(done.error());
    if (::listen(made.socket.get(), static_cast<int>(listener.backlog)) != 0)
        return system_error(errno, binding(listener), place.path());
    auto placed = file->put_in_place();
    if (!placed) return std::move(placed.error());
    made.file = std::move(*placed);
    return made;
}

}  // namespace

Result<UnixListener> listen_unix(const conf::Listener& listener, const Address& address, Patience patience) {
    auto place = FilePlace::find(address.path());
    if (!place)
        return std::move(place.error()).while_doing(fmt::format("binding listener \"{}\"", listener.name));
    auto look = look_for_a_while(listener, address, *place, patience);
    if (!look) return std::move(look.error());
    switch (look->found) {
        case Found::nothing:
        case Found::stale: return bind_unix(listener, *place, look->file);
        case Found::live:
            return system_error(EADDRINUSE, binding(listener), address.text(),
                                held_hint(look->holder, listener));
        case Found::failed: break;
    }
    return system_error(look->sys_errno, binding(listener), address.text());
}

Result<UniqueFd> listen_inherited(const conf::Listener& listener, int passed) {
    UniqueFd fd(::fcntl(passed, F_DUPFD_CLOEXEC, 3));
    const bool is_set = fd && (!is_tcp(passed) || set_tcp_options(passed, listener)) &&
                        ::listen(passed, static_cast<int>(listener.backlog)) == 0;
    if (is_set) {
        say_cut_backlog(listener, passed);
        return fd;
    }
    return system_error(
        errno, fmt::format("give its options to the passed socket of listener \"{}\"", listener.name));
}

void say_cut_backlog(const conf::Listener& listener, int passed) {
    const auto got = backlog_of(passed, listener.backlog);
    if (!got || *got >= listener.backlog) return;
    log::warn(
        "listeners.{}.backlog is {}, of which a passed socket takes {}: net.core.somaxconn where it was made",
        listener.name, listener.backlog, *got);
}

// A second listen() of a listening socket sets its backlog anew.
Result<void> adjust(const conf::Listener& listener, int fd, const UnixFile& file) {
    if (!file.path.empty()) {
        if (auto done = set_rights_in_place(listener, file); !done) return done;
    }
    if ((!is_tcp(fd) || set_keepalive(fd, listener.keepalive)) &&
        ::listen(fd, static_cast<int>(listener.backlog)) == 0) {
        return {};
    }
    return system_error(errno, fmt::format("give its new options to listener \"{}\"", listener.name));
}

}  // namespace tcpd::master
