#pragma once

// What a service manager is told: over systemd's NOTIFY_SOCKET, and over the s6 descriptor (--notify-fd).
// Master only. Owns the descriptor it is given. What can't be told is one warning in the log, and never
// blocks for more than a second. Nothing is forked and the PID never changes, so NotifyAccess=main is enough.
// Source: sd_notify(3), sd_watchdog_enabled(3), unix(7), s6 "notification-fd".

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd {

class ServiceManager {
public:
    // Reads and unsets NOTIFY_SOCKET (a path, or @ for an abstract name), WATCHDOG_USEC and WATCHDOG_PID.
    // notify_fd < 0: none; it becomes close-on-exec, but for 0 to 2, of which a copy is taken.
    static Result<ServiceManager> from_environment(int notify_fd);
    // READY=1 and the STATUS line; at the first time a newline on the s6 descriptor, which is then closed.
    void ready(std::string_view status);
    // RELOADING=1 with MONOTONIC_USEC, until `ready`.
    void reloading(std::string_view status);
    void stopping(std::string_view status);
    // What a service manager wants to hear again and again: WATCHDOG=1 if it watches; EXTEND_TIMEOUT_USEC
    // while something `takes_long` on which it may have set a limit; the STATUS line if it is another. Call
    // when `next_report_ns` (CLOCK_MONOTONIC; never: the largest number) has come.
    void report(uint64_t now_ns, std::string_view status, bool takes_long);
    uint64_t next_report_ns() const { return next_report_ns_; }
    // For a program that this process is about to become, the environment is as it was found; children never
    // see it so.
    void show_environment() const;
    void hide_environment() const;
    bool is_there() const { return !socket_path_.empty(); }

private:
    // What was not taken is sent again before the next message: without READY=1 a reload would never end for
    // the service manager.
    void send(const std::string& message);
    bool send_unsent();
    bool try_send(const std::string& message) const;
    std::string status_line(std::string_view status);
    std::string socket_path_;
    UniqueFd notify_fd_;
    uint64_t watchdog_us_ = 0;  // 0: it does not watch
    uint64_t next_report_ns_ = std::numeric_limits<uint64_t>::max();
    std::string told_status_;
    std::vector<std::string> unsent_;  // in order
};

}  // namespace tcpd
