#pragma once

// Readiness for whoever started this process: a service manager's NOTIFY_SOCKET, and the s6 descriptor
// (--notify-fd). Master only. Owns the descriptor it is given. What can't be told is one warning in the log,
// and never blocks for more than a second. Source: sd_notify(3), unix(7), s6 "notification-fd".

#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd {

class ServiceManager {
public:
    // Reads and unsets NOTIFY_SOCKET (a path, or @ for an abstract name). notify_fd < 0: none; it becomes
    // close-on-exec, but for 0 to 2, of which a copy is taken.
    static Result<ServiceManager> from_environment(int notify_fd);
    // READY=1 and the STATUS line; a newline on the s6 descriptor, which is then closed.
    void ready(std::string_view status);
    void stopping();
    void status(std::string_view line);
    // For a program that this process is about to become, the environment is as it was found; children never
    // see it so.
    void show_environment() const;
    void hide_environment() const;
    bool is_there() const { return !socket_path_.empty(); }

private:
    void send(std::string_view message);
    std::string socket_path_;
    UniqueFd notify_fd_;
};

}  // namespace tcpd
