#pragma once

// What no single value shows: how the parts of a configuration fit together, and whether this machine has
// what they name. The first is pure and runs in every process; the second asks the system and runs in the
// master (and -t) only; it changes nothing there. Owns memory only: a death in here leaves nothing behind.

#include "conf/draft.h"

namespace tcpd::conf {

// Also puts upstreams and framings in place of their names. Not `is_whole`: a file could not be read, and
// what is not there may be in it.
void check_together(Draft& draft, bool is_whole);
// Keys that hold for clients by their address, where they hold for somebody: "allow".
std::vector<std::string_view> keys_by_address(const Listener& listener);
inline constexpr const char* kNoAddresses =
    "clients of a unix socket have no address, and this listener has no other socket";
inline constexpr const char* kSomeNoAddresses =
    "does not hold for this listener's unix sockets, whose clients have no address";
// Users, groups, folders; warns of a root that stays one.
void check_machine(Draft& draft);

}  // namespace tcpd::conf
