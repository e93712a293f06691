#pragma once

// Which kinds of IP this machine, or the sandbox that we are in, lets us use. Every process. Owns nothing.
// Source: socket(7), ipv6(7), the kernel's ip-sysctl.rst "disable_ipv6".

namespace tcpd {

// False only where the kernel says so: a socket of it can't be made, or be bound to all addresses.
bool machine_has(int family);
// disable_ipv6 of all interfaces: there are no IPv6 addresses, though there are sockets.
bool is_ipv6_switched_off();

}  // namespace tcpd
