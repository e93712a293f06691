#include "daemon/ask_master.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "daemon/base/control_request.h"
#include "daemon/base/net/address.h"
#include "daemon/base/unique_fd.h"
#include "daemon/check_config.h"

namespace tcpd {

namespace {

constexpr int kPatienceSeconds = 10;  // for an answer that takes no work; a stop takes as long as its drain

struct Master {
    pid_t pid = 0;
    UniqueFd process;  // a pidfd: readable once it is gone, and never another process
};

Error no_master(const std::string& pid_file, std::string why) {
    return {.code = ErrorCode::unavailable,
            .reason = "no tcpd runs with pid file " + pid_file + ": " + std::move(why)};
}

// Whoever holds the lock on the pid file; 0: nobody.
Result<pid_t> lock_holder(int pid_file_fd, const std::string& pid_file) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(pid_file_fd, F_GETLK, &lock) != 0) return system_error(errno, "ask who holds", pid_file);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

Result<Master> find_master(const std::string& pid_file) {
    UniqueFd file(open(pid_file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file && errno == ENOENT) return no_master(pid_file, "there is no such file");
    if (!file) return system_error(errno, "open pid file", pid_file);
    auto holder = lock_holder(file.get(), pid_file);
    if (!holder) return std::move(holder.error());
    if (*holder == 0) return no_master(pid_file, "the file is there, but no process holds it");
    if (*holder < 0) return no_master(pid_file, "its holder is a process that can't be seen from here");
    UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, *holder, 0)));
    if (!process && errno == ESRCH) return no_master(pid_file, "it has just ended");
    if (!process) return system_error(errno, "watch process", std::to_string(*holder));
    return Master{*holder, std::move(process)};
}

Error cannot_connect(int sys_errno, const std::string& path, pid_t pid) {
    std::string hint = "pid " + std::to_string(pid) + " holds the pid file";
    if (sys_errno == EACCES) hint += "; ask as the user that it was started by";
    Error error = system_error(sys_errno, "connect to the control socket of tcpd", path, hint);
    if (sys_errno == ENOENT || sys_errno == ECONNREFUSED) error.code = ErrorCode::unavailable;
    return error;
}

void limit_waiting(int fd, bool for_answer) {
    timeval limit{kPatienceSeconds, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (for_answer) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
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

Result<UniqueFd> connect_to(const Master& master, const std::string& pid_file, bool answers_at_once) {
    std::string path = control::socket_path(pid_file);
    auto address = Address::parse("unix:" + path, false);
    if (!address) return std::move(address.error());
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!fd) return system_error(errno, "make a socket");
    limit_waiting(fd.get(), answers_at_once);
    if (connect(fd.get(), address->get(), address->length()) != 0)
        return cannot_connect(errno, path, master.pid);
    if (auto checked = check_peer(fd.get(), path, master.pid); !checked) return std::move(checked.error());
    return fd;
}

Error no_answer(int sys_errno, pid_t pid) {
    std::string who = "tcpd (pid " + std::to_string(pid) + ")";
    if (sys_errno == EAGAIN)
        return {.code = ErrorCode::timed_out,
                .reason = who + " gave no answer in " + std::to_string(kPatienceSeconds) + " s",
                .hint = "is it stopped, or the machine overloaded?"};
    return {.code = ErrorCode::unavailable, .reason = who + " ended before it had answered"};
}

// Prints what comes until the answer that ends the conversation.
Result<void> converse(int fd, const std::string& verb, pid_t pid, FILE* out) {
    if (send(fd, verb.data(), verb.size(), MSG_NOSIGNAL) < 0) return no_answer(errno, pid);
    std::vector<char> reply(control::kMaxReplyBytes);
    for (;;) {
        ssize_t size = recv(fd, reply.data(), reply.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return no_answer(size < 0 ? errno : 0, pid);
        std::string text(reply.data() + 1, static_cast<size_t>(size) - 1);
        auto kind = static_cast<control::ReplyKind>(reply[0]);
        if (kind == control::ReplyKind::failed) return Error{.code = ErrorCode::refused, .reason = text};
        if (kind == control::ReplyKind::done && !text.empty() && !text.ends_with('\n')) text += '\n';
        fwrite(text.data(), 1, text.size(), out);
        fflush(out);
        if (kind == control::ReplyKind::done) return {};
    }
}

void wait_for_end(const Master& master) {
    pollfd ended{master.process.get(), POLLIN, 0};
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
}

// A file with mistakes in it must not keep anyone from stopping what runs: its pid_file is enough.
Result<std::string> pid_file_of(const Command& command) {
    conf::FileSource source;
    conf::Loaded loaded = conf::load(source, command.config_path);
    if (!loaded.config.pid_file.empty()) return loaded.config.pid_file;
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

Result<void> ask_master(const std::string& pid_file, const std::string& verb, FILE* out) {
    auto master = find_master(pid_file);
    if (!master) return std::move(master.error());
    bool stops = verb == control::kStopVerb;
    auto socket = connect_to(*master, pid_file, verb == control::kStatusVerb);
    if (!socket) return std::move(socket.error());
    auto answered = converse(socket->get(), verb, master->pid, out);
    if (answered && stops) wait_for_end(*master);
    return answered;
}

int make_request(const Command& command) {
    auto pid_file = pid_file_of(command);
    auto outcome = pid_file ? ask_master(*pid_file, command.verb, stdout) : std::move(pid_file.error());
    if (outcome) return kExitFine;
    fprintf(stderr, "tcpd: %s\n", outcome.error().text().c_str());
    return exit_code_of(outcome.error().code);
}

}  // namespace tcpd
