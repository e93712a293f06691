#pragma once

// What `tcpd -s VERB` and the master say to each other over PID_FILE.ctl, a SEQPACKET unix socket of mode
// 0600. A request is one message: the verb ("status", "stop"). It is answered by messages whose first byte is
// a ReplyKind: any number of `output`, then one `done` or `failed`, which ends the conversation. End of file
// before that: the master is gone. Both sides; nothing is owned here. Verbs may be added; the kinds of reply
// stay. Source: unix(7).

#include <cstddef>
#include <string>
#include <string_view>

namespace tcpd::control {

enum class ReplyKind : char {
    output = 'o',  // the rest is text to print as it is; more follows
    done = 'k',    // the rest is a last line of text, which may be empty
    failed = 'e',  // the rest is the reason, one line; behind it there may be a mark
};

// Behind a reason: the configuration has mistakes. It begins with a 0 byte, at which a tcpd that does not know it
// takes the line to end.
inline constexpr std::string_view kBadConfigMark{"\0bad_config", 11};

inline constexpr size_t kMaxRequestBytes = 256;
inline constexpr size_t kMaxReplyBytes = 32 * 1024;  // a whole message, its first byte included

inline constexpr std::string_view kStatusVerb = "status";
// As HUP; answered when the new configuration is in force, or won't be.
inline constexpr std::string_view kReloadVerb = "reload";
// As USR2; answered by the new program, or by the old one if it goes on.
inline constexpr std::string_view kUpgradeVerb = "upgrade";
// As USR1.
inline constexpr std::string_view kReopenVerb = "reopen";
// As WINCH; answered when the last connection has ended.
inline constexpr std::string_view kDrainVerb = "drain";
// Drains like TERM; answered when the master is about to exit.
inline constexpr std::string_view kStopVerb = "stop";

inline std::string socket_path(std::string_view pid_file) { return std::string(pid_file) + ".ctl"; }

}  // namespace tcpd::control
