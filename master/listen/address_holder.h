#pragma once

// Which process holds a TCP address that could not be bound: the kernel's tables name the listening socket's
// inode, /proc names who has it open. Master only, at start. What can't be seen (another user's, another
// network) is simply not named. Owns nothing. Source: proc(5) "/proc/net/tcp", "/proc/[pid]/fd".

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/net/address.h"

namespace tcpd::master {

struct Holder {
    pid_t pid = 0;
    std::string name;  // of its program
};

std::optional<Holder> find_holder(const Address& address);
std::string name_of_process(pid_t pid);  // empty: not to be seen

// The inode of the socket that listens on an address overlapping this one; 0: none. `table`: the text of
// /proc/net/tcp or tcp6. Pure.
uint64_t find_listener(std::string_view table, const Address& address);

}  // namespace tcpd::master
