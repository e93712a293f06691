#include "daemon/base/net/families.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/unique_fd.h"

namespace tcpd {

bool machine_has(int family) {
    const auto is_absence = [] { return errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL; };
    const UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return !is_absence();
    sockaddr_in6 any{};  // all zero but for the family, as sockaddr_in has it, too
    any.sin6_family = static_cast<sa_family_t>(family);
    const socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof any;
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), length) == 0 || !is_absence();
}

bool is_ipv6_switched_off() {
    const UniqueFd file(::open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_RDONLY | O_CLOEXEC));
    char digit = '0';
    return file && ::read(file.get(), &digit, 1) == 1 && digit == '1';
}

}  // namespace tcpd
