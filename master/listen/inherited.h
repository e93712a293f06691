#pragma once

// Sockets that listen already when tcpd starts: a service manager made them and passes them on (socket
// activation, `listen: systemd:NAME`). Master only. Owns them, each under its name, for life: a listener gets
// copies, so that one which a reload takes away can be had again. They are never shut down: the service
// manager's own copies go on. Source: sd_listen_fds(3), systemd.socket(5) "FileDescriptorName".

#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::master {

struct InheritedSocket {
    std::string name;
    UniqueFd fd;
};

class InheritedSockets {
public:
    InheritedSockets() = default;
    explicit InheritedSockets(std::vector<InheritedSocket> sockets) : sockets_(std::move(sockets)) {}
    // Reads and unsets LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; none, if they are meant for another
    // process. The descriptors become close-on-exec and non-blocking.
    static Result<InheritedSockets> from_environment();
    bool holds(int fd) const;
    const std::vector<InheritedSocket>& all() const { return sockets_; }
    // Borrowed, in the order in which they were passed; not_found, or bad_format for one that does not listen
    // for streams.
    Result<std::vector<int>> named(std::string_view name) const;

private:
    std::string what_was_passed() const;
    std::string what_to_do(std::string_view name) const;
    std::string why_none_ = "it passed none";
    std::string odd_names_;  // empty: each has one
    std::vector<InheritedSocket> sockets_;
};

}  // namespace tcpd::master
