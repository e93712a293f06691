#include "daemon/base/log/output.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

namespace tcpd::log {

namespace {

// Whoever logs must not die because the log's reader did, or because the file is as large as it may be
// (ulimit -f). A handler that somebody else set stays.
void ignore_deadly(int signal_number) {
    struct sigaction current {};
    bool is_deadly = sigaction(signal_number, nullptr, &current) == 0 && current.sa_handler == SIG_DFL;
    if (is_deadly) signal(signal_number, SIG_IGN);
}

}  // namespace

void Output::open(int fd, Notice notice) {
    struct stat status {};
    fd_ = fd;
    notice_ = notice;
    sort_ = Sort::stream;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) sort_ = Sort::file;
    if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) sort_ = Sort::socket;
    ignore_deadly(SIGPIPE);
    ignore_deadly(SIGXFSZ);
}

void Output::write(std::string_view lines) {
    if (untold_ > 0 && !tell_of_dropped()) return drop(lines, errno);
    while (!lines.empty()) {
        std::string_view piece = take_piece(lines);
        if (put(piece)) continue;
        int cause = errno;
        drop(piece, cause);
        return drop(lines, cause);
    }
}

bool Output::tell_of_dropped() {
    std::string notice = notice_(untold_, untold_errno_);
    std::string_view rest = notice;
    if (!put(rest)) return false;
    untold_ = 0;
    return true;
}

// Whole lines, at most PIPE_BUF bytes where a larger write could block or mingle with those of other
// processes.
std::string_view Output::take_piece(std::string_view& lines) const {
    size_t bytes = lines.size();
    if (sort_ != Sort::file && bytes > PIPE_BUF) {
        size_t newline = lines.rfind('\n', PIPE_BUF - 1);
        bytes = newline == std::string_view::npos ? PIPE_BUF : newline + 1;
    }
    std::string_view piece = lines.substr(0, bytes);
    lines.remove_prefix(bytes);
    return piece;
}

// What stays in `piece` could not be written, errno says why.
bool Output::put(std::string_view& piece) {
    if (!end_torn_line()) return false;
    while (!piece.empty()) {
        long written = is_ready() ? put_once(piece) : -1;
        if (written < 0) return false;
        line_is_torn_ = piece[static_cast<size_t>(written) - 1] != '\n';
        piece.remove_prefix(static_cast<size_t>(written));
    }
    return true;
}

bool Output::end_torn_line() {
    if (!line_is_torn_) return true;
    if (!is_ready() || put_once("\n") < 0) return false;
    line_is_torn_ = false;
    return true;
}

bool Output::is_ready() {
    if (sort_ != Sort::stream) return true;
    pollfd room{fd_, POLLOUT, 0};
    int patience = untold_ > 0 ? 0 : static_cast<int>(kPatience.count());
    int ready = poll(&room, 1, patience);
    if (ready == 0) errno = EAGAIN;
    return ready > 0;
}

long Output::put_once(std::string_view piece) {
    for (;;) {
        long written = sort_ == Sort::socket
                           ? send(fd_, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                           : ::write(fd_, piece.data(), piece.size());
        if (written > 0) return written;
        if (written == 0) errno = EIO;
        if (errno != EINTR) return -1;
    }
}

void Output::drop(std::string_view lines, int sys_errno) {
    auto count = static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
    untold_ += count;
    untold_errno_ = sys_errno;
    dropped_.fetch_add(count, std::memory_order_relaxed);
}

}  // namespace tcpd::log
