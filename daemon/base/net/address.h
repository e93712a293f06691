#pragma once

// An address to listen on or to dial: IPv4, IPv6 or a unix socket's path; or, to listen on, the name of a
// socket that a service manager passes. Pure but for sockaddr; every process. Source: ip(7), ipv6(7),
// unix(7), systemd.socket(5) "FileDescriptorName".

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"

namespace tcpd {

class Address {
public:
    Address() = default;
    // From accept4, getsockname or getpeername.
    static Address from_sockaddr(const sockaddr* address, socklen_t length);
    // What a socket is bound to.
    static Result<Address> of_socket(int fd);
    // "127.0.0.1:7000", "[::1]:7000", "unix:/run/x.sock". Port 0 only if `allow_port_0`. A name instead of a
    // literal address, a port over 65535, a path that is too long (107 bytes) or relative: an Error whose
    // `reason` says what would be right.
    static Result<Address> parse(std::string_view text, bool allow_port_0);
    // As parse, and "*:7000", which is two: 0.0.0.0 and [::], of what the machine has; and "systemd:NAME".
    static Result<std::vector<Address>> parse_listen(std::string_view text);

    int family() const { return storage_.any.sa_family; }  // AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC: neither
    bool is_unix() const { return family() == AF_UNIX; }
    uint16_t port() const;  // 0 for unix
    void set_port(uint16_t port);
    std::string path() const;  // of a unix socket
    // One of the two that *:PORT stands for.
    bool is_of_star() const { return is_of_star_; }
    // "systemd:NAME": no address of its own.
    bool is_inherited() const { return family() == AF_UNSPEC && length_ > 0; }
    std::string inherited_name() const;
    const sockaddr* get() const { return &storage_.any; }
    socklen_t length() const { return length_; }
    // As parse reads it.
    std::string text() const;
    bool operator==(const Address& other) const;
    // The same socket could not be bound twice: equal, or same port and one of the two is the family's
    // wildcard.
    bool overlaps(const Address& other) const;

private:
    union Storage {
        sockaddr any;
        sockaddr_storage storage;
        sockaddr_un unix_path;
    };
    Storage storage_{};
    socklen_t length_ = 0;
    bool is_of_star_ = false;  // how it was written, which is no part of what it is
};

}  // namespace tcpd
