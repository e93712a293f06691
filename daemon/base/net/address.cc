#include "daemon/base/net/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>

#include "daemon/base/text.h"

namespace tcpd {

namespace {

constexpr size_t kPathAt = offsetof(sockaddr_un, sun_path);
constexpr size_t kMostPathBytes = sizeof(sockaddr_un::sun_path) - 1;

template <typename... Args>
Error wrong(fmt::format_string<Args...> format, Args&&... args) {
    Error error;
    error.code = ErrorCode::bad_config;
    error.reason = fmt::format(format, std::forward<Args>(args)...);
    return error;
}

template <typename Raw>
std::optional<Raw> to_literal(int family, std::string_view text) {
    Raw raw{};
    if (inet_pton(family, std::string(text).c_str(), &raw) != 1) return std::nullopt;
    return raw;
}

bool is_ipv4(std::string_view text) { return to_literal<in_addr>(AF_INET, text).has_value(); }
bool is_ipv6(std::string_view text) { return to_literal<in6_addr>(AF_INET6, text).has_value(); }

bool has_only(std::string_view text, std::string_view characters) {
    return !text.empty() && text.find_first_not_of(characters) == std::string_view::npos;
}

bool is_host_name(std::string_view text) {
    return has_only(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
}

Address make_ipv4(in_addr raw, uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr = raw;
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

Address make_ipv6(const in6_addr& raw, uint16_t port) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = raw;
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

bool is_range(std::string_view text) {
    const size_t dash = text.find('-');
    return has_only(text, "0123456789-") && dash != std::string_view::npos && dash != 0;
}

// `host` as written, brackets included, for the suggestion.
Result<uint16_t> parse_port(std::string_view text, std::string_view host, bool allow_port_0) {
    if (text.empty()) return wrong("a port is missing (try {}:7000)", host);
    if (is_range(text))
        return wrong("{} is a range of ports, which only `listen` takes (use one port)", quoted(text, 40));
    if (!has_only(text, "0123456789"))
        return wrong("port {} is not a number (try {}:7000)", quoted(text, 40), host);
    if (text.size() > 1 && text[0] == '0') {
        return wrong("port {} has a leading zero (write it without)", quoted(text, 40));
    }
    std::optional<uint64_t> port = parse_number(text);
    if (!port || *port > 65535) return wrong("port {} is over 65535", text.substr(0, 40));
    if (*port == 0 && !allow_port_0) return wrong("port 0 means nothing here (use 1 to 65535)");
    return static_cast<uint16_t>(*port);
}

Result<Address> parse_unix(std::string_view path) {
    if (path.empty()) return wrong("a path is missing (try unix:/run/tcpd/tcpd.sock)");
    if (path[0] == '@')
        return wrong("{} is an abstract name, which has no permissions (use a path)", quoted(path));
    if (path[0] != '/') return wrong("path {} is relative (write it from the root)", quoted(path));
    if (path.size() > kMostPathBytes) {
        return wrong("path {} has {} bytes, over the {} that a unix socket's may have", quoted(path),
                     path.size(), kMostPathBytes);
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.data(), path.size());
    auto length = static_cast<socklen_t>(kPathAt + path.size() + 1);
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&address), length);
}

// The name lies where a unix socket's path would.
Result<Address> parse_inherited(std::string_view name) {
    if (name.empty()) return wrong("a name is missing (try systemd:tcpd.socket)");
    if (name.size() > kMostPathBytes || name.find_first_of(": /\t\n") != std::string_view::npos) {
        return wrong("{} is not the name of a passed socket (FileDescriptorName= of its .socket unit)",
                     quoted(name));
    }
    sockaddr_un named{};
    named.sun_family = AF_UNSPEC;
    memcpy(named.sun_path, name.data(), name.size());
    const auto length = static_cast<socklen_t>(kPathAt + name.size() + 1);
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&named), length);
}

Result<Address> parse_bracketed(std::string_view text, bool allow_port_0) {
    size_t end = text.find(']');
    if (end == std::string_view::npos)
        return wrong("{} lacks the closing bracket (try [::1]:7000)", quoted(text));
    std::string_view host = text.substr(1, end - 1);
    std::string_view rest = text.substr(end + 1);
    if (host.find('%') != std::string_view::npos) {
        return wrong("{} has a scope id, which is not supported (use an address without one)", quoted(text));
    }
    if (is_ipv4(host))
        return wrong("brackets are for IPv6 (write {}{})", host, rest.empty() ? ":7000" : rest);
    std::optional<in6_addr> raw = to_literal<in6_addr>(AF_INET6, host);
    if (!raw) return wrong("{} is not an IPv6 address (try [::1]:7000)", quoted(host));
    if (IN6_IS_ADDR_V4MAPPED(&*raw))
        return wrong("{} is IPv4 in IPv6's clothes (write it as IPv4)", quoted(text));
    if (!rest.empty() && rest[0] != ':')
        return wrong("{} is no port (try [{}]:7000)", quoted(rest, 40), host);
    Result<uint16_t> port =
        parse_port(rest.empty() ? rest : rest.substr(1), text.substr(0, end + 1), allow_port_0);
    if (!port) return std::move(port.error());
    return make_ipv6(*raw, *port);
}

// More than one colon and no bracket.
Error explain_colons(std::string_view text) {
    size_t last = text.rfind(':');
    std::string_view host = text.substr(0, last);
    std::string_view port = text.substr(last + 1);
    if (is_ipv6(host) && has_only(port, "0123456789")) {
        return wrong("put IPv6 addresses in brackets: [{}]:{}", host, port);
    }
    if (is_ipv6(text)) return wrong("put IPv6 addresses in brackets: [{}]:7000", text);
    return wrong("{} is not an address (try 127.0.0.1:7000 or [::1]:7000)", quoted(text));
}

// `host` is no IPv4 literal; `text` is all that was written.
Error explain_host(std::string_view text, std::string_view host) {
    if (has_only(host, "0123456789.") && host.find('.') != std::string_view::npos) {
        return wrong("{} is not an IPv4 address (four numbers from 0 to 255, such as 127.0.0.1)",
                     quoted(host));
    }
    if (host == "*") return wrong("{} is two addresses, which only `listen` takes (use one)", quoted(text));
    if (text[0] == '/' || text[0] == '.')
        return wrong("{} looks like a path (write unix:{})", quoted(text), text);
    if (is_host_name(host)) {
        return wrong("{} names a host (use a literal address such as 127.0.0.1:7000)", quoted(text));
    }
    return wrong("{} is not an address (try 127.0.0.1:7000 or [::1]:7000)", quoted(text));
}

Result<Address> parse_plain(std::string_view text, bool allow_port_0) {
    size_t colon = text.find(':');
    if (colon != text.rfind(':')) return explain_colons(text);
    std::string_view host = text.substr(0, colon);
    if (host.empty()) {
        bool has_port = has_only(text.substr(1), "0123456789");
        return wrong("an address is missing before the port (try 0.0.0.0{})", has_port ? text : ":7000");
    }
    if (colon == std::string_view::npos && has_only(host, "0123456789-")) {
        return wrong("{} has no address (try 0.0.0.0:{})", quoted(text, 40), text.substr(0, 40));
    }
    std::optional<in_addr> raw = to_literal<in_addr>(AF_INET, host);
    if (!raw) return explain_host(text, host);
    std::string_view port_text = colon == std::string_view::npos ? "" : text.substr(colon + 1);
    Result<uint16_t> port = parse_port(port_text, host, allow_port_0);
    if (!port) return std::move(port.error());
    return make_ipv4(*raw, *port);
}

const sockaddr_in& as_ipv4(const Address& address) {
    return *reinterpret_cast<const sockaddr_in*>(address.get());
}
const sockaddr_in6& as_ipv6(const Address& address) {
    return *reinterpret_cast<const sockaddr_in6*>(address.get());
}

bool same_host(const Address& a, const Address& b) {
    if (a.family() == AF_INET) return as_ipv4(a).sin_addr.s_addr == as_ipv4(b).sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&as_ipv6(a).sin6_addr, &as_ipv6(b).sin6_addr) &&
           as_ipv6(a).sin6_scope_id == as_ipv6(b).sin6_scope_id;
}

bool is_wildcard(const Address& address) {
    if (address.family() == AF_INET) return as_ipv4(address).sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&as_ipv6(address).sin6_addr);
}

bool is_inet(const Address& address) { return address.family() == AF_INET || address.family() == AF_INET6; }

}  // namespace

Address Address::from_sockaddr(const sockaddr* address, socklen_t length) {
    Address made;
    made.length_ = std::min<socklen_t>(length, sizeof made.storage_);
    memcpy(&made.storage_, address, made.length_);
    return made;
}

Result<Address> Address::of_socket(int fd) {
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
        return system_error(errno, "find out where a socket listens");
    }
    return from_sockaddr(reinterpret_cast<const sockaddr*>(&bound), length);
}

Result<Address> Address::parse(std::string_view text, bool allow_port_0) {
    if (text.empty()) return wrong("an address is missing (try 0.0.0.0:7000)");
    if (text.find('\0') != std::string_view::npos) return wrong("{} has a NUL byte in it", quoted(text));
    if (text.starts_with("unix:")) return parse_unix(text.substr(5));
    if (text.starts_with("systemd:")) {
        return wrong("{} is something to listen on, not to dial (write its address)", quoted(text));
    }
    if (text[0] == '[') return parse_bracketed(text, allow_port_0);
    return parse_plain(text, allow_port_0);
}

Result<std::vector<Address>> Address::parse_listen(std::string_view text) {
    std::vector<Address> addresses;
    const bool is_inherited = text.starts_with("systemd:");
    if (is_inherited || (!text.starts_with("*:") && text != "*")) {
        Result<Address> one = is_inherited ? parse_inherited(text.substr(8)) : parse(text, true);
        if (!one) return std::move(one.error());
        addresses.push_back(*one);
        return addresses;
    }
    Result<uint16_t> port = parse_port(text.substr(std::min<size_t>(2, text.size())), "*", true);
    if (!port) return std::move(port.error());
    addresses.push_back(make_ipv4(in_addr{htonl(INADDR_ANY)}, *port));
    addresses.push_back(make_ipv6(in6addr_any, *port));
    for (Address& one : addresses) one.is_of_star_ = true;
    return addresses;
}

uint16_t Address::port() const {
    if (family() == AF_INET) return ntohs(as_ipv4(*this).sin_port);
    if (family() == AF_INET6) return ntohs(as_ipv6(*this).sin6_port);
    return 0;
}

void Address::set_port(uint16_t port) {
    if (family() == AF_INET) reinterpret_cast<sockaddr_in*>(&storage_)->sin_port = htons(port);
    if (family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(&storage_)->sin6_port = htons(port);
}

std::string Address::path() const {
    if (!is_unix() || length_ <= kPathAt) return {};
    size_t bytes = length_ - kPathAt;
    const char* path = storage_.unix_path.sun_path;
    if (path[0] == '\0') return "@" + std::string(path + 1, bytes - 1);
    return std::string(path, strnlen(path, bytes));
}

std::string Address::inherited_name() const { return is_inherited() ? storage_.unix_path.sun_path : ""; }

std::string Address::text() const {
    char host[INET6_ADDRSTRLEN] = "";
    switch (family()) {
        case AF_INET:
            inet_ntop(AF_INET, &as_ipv4(*this).sin_addr, host, sizeof host);
            return fmt::format("{}:{}", host, port());
        case AF_INET6:
            inet_ntop(AF_INET6, &as_ipv6(*this).sin6_addr, host, sizeof host);
            return fmt::format("[{}]:{}", host, port());
        case AF_UNIX: return "unix:" + path();
        default: return is_inherited() ? "systemd:" + inherited_name() : "none";
    }
}

bool Address::operator==(const Address& other) const {
    if (family() != other.family()) return false;
    if (is_inet(*this)) return port() == other.port() && same_host(*this, other);
    return path() == other.path() && inherited_name() == other.inherited_name();
}

bool Address::overlaps(const Address& other) const {
    if (family() != other.family()) return false;
    if (!is_inet(*this)) return *this == other;
    if (port() == 0 || port() != other.port()) return false;
    return same_host(*this, other) || is_wildcard(*this) || is_wildcard(other);
}

}  // namespace tcpd
