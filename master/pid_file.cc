#include "master/pid_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace tcpd::master {

namespace {

constexpr int kTries = 10;

flock whole_file() {
    flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
}

Error held_by_another(const std::string& path, int fd) {
    flock lock = whole_file();
    std::string reason = "another tcpd holds it";
    if (::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0) {
        reason = fmt::format("another tcpd holds it, pid {}", lock.l_pid);
    }
    return Error{ErrorCode::in_use,
                 "lock the pid file",
                 path,
                 0,
                 reason,
                 "stop it first, or give this one a pid_file of its own"};
}

// A master locks for writing; to read, whoever may read the file can lock it.
bool is_held_by_readers_alone(int fd) {
    flock lock = whole_file();
    lock.l_type = F_RDLCK;
    return ::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

bool leads_to(const std::string& path, int fd) {
    struct stat there {
    }, ours{};
    return ::stat(path.c_str(), &there) == 0 && ::fstat(fd, &ours) == 0 && there.st_dev == ours.st_dev &&
           there.st_ino == ours.st_ino;
}

}  // namespace

// An owner that ends just now may remove the file between our open and our lock: then the lock is on nothing.
Result<PidFile> PidFile::lock(const std::string& path) {
    for (int i = 0; i < kTries; ++i) {
        UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
        if (!file) return system_error(errno, "open the pid file", path);
        flock lock = whole_file();
        if (::fcntl(file.get(), F_SETLK, &lock) != 0) {
            // No master has it then: it was left behind, and readers of it keep nobody from a new one.
            if (is_held_by_readers_alone(file.get())) {
                if (leads_to(path, file.get())) ::unlink(path.c_str());
                continue;
            }
            if (errno == EAGAIN || errno == EACCES) return held_by_another(path, file.get());
            return system_error(errno, "lock the pid file", path);
        }
        if (!leads_to(path, file.get())) continue;
        if (::ftruncate(file.get(), 0) != 0) return system_error(errno, "empty the pid file", path);
        return PidFile(path, std::move(file));
    }
    return Error{ErrorCode::in_use, "lock the pid file", path, 0, "somebody keeps replacing it"};
}

Result<void> PidFile::publish() {
    const std::string line = fmt::format("{}\n", ::getpid());
    if (::pwrite(file_.get(), line.data(), line.size(), 0) == static_cast<ssize_t>(line.size())) return {};
    return system_error(errno, "write the pid file", path_);
}

PidFile::~PidFile() {
    if (file_ && leads_to(path_, file_.get())) ::unlink(path_.c_str());
}

}  // namespace tcpd::master
