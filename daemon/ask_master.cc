#include "daemon/ask_master.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <vector>

#include "daemon/base/control_request.h"
#include "daemon/base/net/address.h"
#include "daemon/base/text.h"
#include "daemon/base/unique_fd.h"
#include "daemon/check_config.h"

namespace tcpd {

namespace {

constexpr Duration kAtOnce{10'000};    // an answer that takes no work
constexpr Duration kRollOut{120'000};  // new images for all slots
constexpr Duration kBeside{30'000};    // a drain that takes all of drain.stop

// When all is to be over; it goes on from one call to the next.
class TimeLimit {
public:
    explicit TimeLimit(Duration limit) : limit_(limit), end_ns_(monotonic_ns() + to_ns(limit)) {}
    // For the next call that waits at this socket. False: it is over.
    bool apply(int fd) const {
        if (limit_.count() == 0) return true;
        const int left = left_ms();
        if (left == 0) return false;  // as a time-out, 0 would be none
        timeval rest{left / 1000, left % 1000 * 1000};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &rest, sizeof rest);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &rest, sizeof rest);
        return true;
    }
    // As poll(2) wants it: -1 without a limit.
    int left_ms() const {
        if (limit_.count() == 0) return -1;
        const uint64_t now = monotonic_ns();
        return now >= end_ns_
                   ? 0
                   : static_cast<int>(std::min<uint64_t>((end_ns_ - now) / 1'000'000 + 1, INT_MAX));
    }
    std::string text() const { return format_duration(limit_); }

private:
    Duration limit_;
    uint64_t end_ns_;
};

struct Master {
    pid_t pid = 0;
    UniqueFd process;  // a pidfd: readable once it is gone, and never another process
};

Error no_master(const std::string& pid_file, std::string why) {
    return {.code = ErrorCode::unavailable,
            .reason = "no tcpd runs with pid file " + pid_file + ": " + std::move(why)};
}

// One may run whose file is not the one that the configuration names by now, or was taken from it.
Error no_holder(const std::string& pid_file, std::string why) {
    Error error = no_master(pid_file, std::move(why));
    error.hint =
        "if one runs, its pid file was removed or replaced, which kill -HUP PID mends, or pid_file was "
        "changed since it started, which its log says then";
    return error;
}

// The master that holds the lock on the pid file; 0: nobody. A lock of somebody who reads it is none of a master's.
Result<pid_t> lock_holder(int pid_file_fd, const std::string& pid_file) {
    struct flock lock {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(pid_file_fd, F_GETLK, &lock) != 0) return system_error(errno, "ask who holds", pid_file);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

// Who may ask: root, and whom the file belongs to, who is the master's user.
std::string ask_as(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || status.st_uid == 0) return "ask as root: sudo tcpd -s ...";
    const passwd* owner = getpwuid(status.st_uid);
    const std::string name = owner != nullptr ? owner->pw_name : std::to_string(status.st_uid);
    return "ask as root or as user " + name + ": sudo tcpd -s ...";
}

Result<Master> find_master(const std::string& pid_file) {
    UniqueFd file(open(pid_file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file && errno == ENOENT) return no_holder(pid_file, "there is no such file");
    if (!file) return system_error(errno, "open pid file", pid_file, errno == EACCES ? ask_as(pid_file) : "");
    auto holder = lock_holder(file.get(), pid_file);
    if (!holder) return std::move(holder.error());
    if (*holder == 0) return no_holder(pid_file, "the file is there, but no process holds it");
    if (*holder < 0) return no_master(pid_file, "its holder is a process that can't be seen from here");
    UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, *holder, 0)));
    if (!process && errno == ESRCH) return no_master(pid_file, "it has just ended");
    if (!process) return system_error(errno, "watch process", std::to_string(*holder));
    return Master{*holder, std::move(process)};
}

Error cannot_connect(int sys_errno, const std::string& path, pid_t pid) {
    std::string hint = "pid " + std::to_string(pid) + " holds the pid file";
    if (sys_errno == EACCES) hint += "; " + ask_as(path);
    const bool is_lost = sys_errno == ENOENT || sys_errno == ECONNREFUSED;
    if (is_lost) hint += "; if it is no longer starting, kill -HUP " + std::to_string(pid) + " binds it anew";
    Error error = system_error(sys_errno, "connect to the control socket of tcpd", path, hint);
    if (is_lost) error.code = ErrorCode::unavailable;
    return error;
}

Result<void> check_peer(int fd, const std::string& path, pid_t pid) {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return system_error(errno, "ask who listens", path);
    if (peer.pid == pid) return {};
    return Error{.code = ErrorCode::refused,
                 .reason = path + " belongs to pid " + std::to_string(peer.pid) + ", but pid " +
                           std::to_string(pid) + " holds the pid file; nothing was asked"};
}

Error too_late(const std::string& verb, const TimeLimit& limit, pid_t pid) {
    return {.code = ErrorCode::timed_out,
            .reason = "tcpd (pid " + std::to_string(pid) + ") gave no answer to " + quoted(verb) + " in " +
                      limit.text() + ", the time limit of this request; what it has begun goes on",
            .hint =
                "is it stopped, or the machine overloaded? the log tells more; --timeout DURATION waits "
                "for longer"};
}

Result<UniqueFd> connect_to(const Master& master, const std::string& pid_file, const std::string& verb,
                            const TimeLimit& limit) {
    std::string path = control::socket_path(pid_file);
    auto address = Address::parse("unix:" + path, false);
    if (!address) return std::move(address.error());
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!fd) return system_error(errno, "make a socket");
    if (!limit.apply(fd.get())) return too_late(verb, limit, master.pid);
    if (connect(fd.get(), address->get(), address->length()) != 0) {
        if (errno == EAGAIN) return too_late(verb, limit, master.pid);
        return cannot_connect(errno, path, master.pid);
    }
    if (auto checked = check_peer(fd.get(), path, master.pid); !checked) return std::move(checked.error());
    return fd;
}

Error no_answer(pid_t pid) {
    return {.code = ErrorCode::unavailable,
            .reason = "tcpd (pid " + std::to_string(pid) + ") ended before it had answered"};
}

Error refusal(std::string text) {
    const bool is_bad_config = text.ends_with(control::kBadConfigMark);
    text.resize(strlen(text.c_str()));  // without a mark, known or not
    return {.code = is_bad_config ? ErrorCode::bad_config : ErrorCode::refused, .reason = std::move(text)};
}

// Prints what comes until the answer that ends the conversation.
Result<void> converse(int fd, const std::string& verb, const TimeLimit& limit, pid_t pid, FILE* out) {
    if (!limit.apply(fd)) return too_late(verb, limit, pid);
    if (send(fd, verb.data(), verb.size(), MSG_NOSIGNAL) < 0 && errno == EAGAIN)
        return too_late(verb, limit, pid);
    std::vector<char> reply(control::kMaxReplyBytes);
    for (;;) {
        if (!limit.apply(fd)) return too_late(verb, limit, pid);
        const ssize_t size = recv(fd, reply.data(), reply.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) return too_late(verb, limit, pid);
        if (size <= 0) return no_answer(pid);
        std::string text(reply.data() + 1, static_cast<size_t>(size) - 1);
        auto kind = static_cast<control::ReplyKind>(reply[0]);
        if (kind == control::ReplyKind::failed) return refusal(std::move(text));
        if (kind == control::ReplyKind::done && !text.empty() && !text.ends_with('\n')) text += '\n';
        fwrite(text.data(), 1, text.size(), out);
        fflush(out);
        if (kind == control::ReplyKind::done) return {};
    }
}

bool wait_for_end(const Master& master, const TimeLimit& limit) {
    pollfd ended{master.process.get(), POLLIN, 0};
    int result = 0;
    while ((result = poll(&ended, 1, limit.left_ms())) < 0 && errno == EINTR) {
    }
    return result > 0;
}

struct Target {
    std::string pid_file;
    Duration drain_stop{0};
};

// A file with mistakes in it must not keep anyone from stopping what runs: its pid_file is enough.
Result<Target> target_of(const Command& command) {
    conf::FileSource source;
    conf::Loaded loaded = conf::load(source, command.config_path);
    if (!loaded.config.pid_file.empty()) return Target{loaded.config.pid_file, loaded.config.drain.stop};
    if (access(command.config_path.c_str(), R_OK) != 0 && errno == EACCES)
        return system_error(EACCES, "read, to find the tcpd to ask,", command.config_path,
                            ask_as(command.config_path));
    if (!loaded.problems.empty())
        return Error{.code = ErrorCode::bad_config, .reason = loaded.problems.front().text()};
    return Error{.code = ErrorCode::bad_usage,
                 .reason = command.config_path + " has no pid_file, by which -s finds a running tcpd",
                 .hint = "set pid_file and start tcpd anew, or send the master a signal: kill -TERM PID"};
}

int exit_code_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::bad_usage: return kExitUsage;
        case ErrorCode::bad_config: return kExitConfig;
        case ErrorCode::unavailable: return kExitNoMaster;
        default: return kExitSystem;
    }
}

}  // namespace

Duration usual_limit(const std::string& verb, Duration drain_stop) {
    if (verb == control::kReloadVerb || verb == control::kUpgradeVerb) return kRollOut;
    if (verb != control::kDrainVerb && verb != control::kStopVerb) return kAtOnce;
    return drain_stop.count() == 0 ? drain_stop : drain_stop + kBeside;
}

Result<void> ask_master(const std::string& pid_file, const std::string& verb, Duration limit, FILE* out) {
    const TimeLimit time_limit(limit);
    auto master = find_master(pid_file);
    if (!master) return std::move(master.error());
    auto socket = connect_to(*master, pid_file, verb, time_limit);
    if (!socket) return std::move(socket.error());
    auto answered = converse(socket->get(), verb, time_limit, master->pid, out);
    if (answered && verb == control::kStopVerb && !wait_for_end(*master, time_limit))
        return too_late(verb, time_limit, master->pid);
    return answered;
}

int make_request(const Command& command) {
    auto target = target_of(command);
    auto outcome =
        target ? ask_master(target->pid_file, command.verb,
                            command.timeout.value_or(usual_limit(command.verb, target->drain_stop)), stdout)
               : std::move(target.error());
    if (outcome) return kExitFine;
    fprintf(stderr, "tcpd: %s\n", outcome.error().text().c_str());
    return exit_code_of(outcome.error().code);
}

}  // namespace tcpd
