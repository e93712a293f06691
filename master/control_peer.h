#pragma once

// Who is at the other end of the control socket, and whether he may ask anything: root with root's rights, or
// the master's own user, but never a process that descends from the master. In a unit without a user of its own
// for the workers these have the master's user, so the user alone keeps none of them out. A peer that has ended
// can't be told from one of them any more, and is refused. Master only; owns a descriptor of the process, by which a
// number that was given anew is no other peer. Source: unix(7) SO_PEERCRED, SO_PEERPIDFD (Linux 6.5),
// pidfd_open(2), waitid(2), proc(5) "stat", capget(2).

#include <sys/types.h>

#include <string>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::master {

class ControlPeer {
public:
    // `socket`: connected.
    static Result<ControlPeer> of(int socket);
    // Why he may not ask, and what to do; asked again when his request is there.
    Result<void> judge() const;
    std::string text() const;  // "pid 4711 of user 33"

private:
    ControlPeer(pid_t pid, uid_t uid, UniqueFd process)
        : pid_(pid), uid_(uid), process_(std::move(process)) {}
    bool is_gone() const;
    Error refusal(std::string reason, std::string hint) const;

    pid_t pid_;
    uid_t uid_;
    UniqueFd process_;  // none: the peer is of a pid namespace that can't be seen from here
};

// True also where the answer can't be had: the ancestors are too many.
bool descends_from_this_process(pid_t pid);

}  // namespace tcpd::master
