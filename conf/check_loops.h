#pragma once

// Whether what a proxy listener dials leads back to itself, directly or by way of other listeners of the same file:
// one client would open connections until there are no more descriptors. Only what is certain is found: a loop by way
// of another program is not. Pure, but for the addresses of this machine, which are given. Owns memory only.

#include <functional>

#include "conf/draft.h"

namespace tcpd::conf {

// `is_ours`: whether an address, its port left out, is one of this machine.
void check_loops(Draft& draft, const std::function<bool(const Address&)>& is_ours);

// 127.0.0.0/8, ::1, and what stands for them where it is dialled: 0.0.0.0 and ::.
bool is_loopback(const Address& address);
// Or one that an interface has now.
bool is_of_this_machine(const Address& address);

}  // namespace tcpd::conf
