#include "master/pid_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/owned_folder.h"

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

bool set_lock(int fd) {
    flock lock = whole_file();
    return ::fcntl(fd, F_SETLK, &lock) == 0;
}

// Why what lies there must not be emptied and written; empty: it may.
std::string fault_of(const FilePlace& place, const struct stat& found) {
    const std::string fault = place.fault_of(found, FileUse::pid_file);
    return fault.empty() ? place.strangeness_of(found, ::geteuid()) : fault;
}

// Looked at first, since to open a device may do something, and once more when it is open.
Result<UniqueFd> open_file(const FilePlace& place) {
    const char* doing = "open the pid file";
    auto there = place.status();
    if (!there) return std::move(there.error());
    std::string fault = *there ? fault_of(place, **there) : "";
    if (!fault.empty()) return unfit_file(doing, place.path(), std::move(fault));
    UniqueFd file = place.open(O_RDWR | O_CREAT, 0644);
    struct stat found {};
    if (!file || ::fstat(file.get(), &found) != 0) return system_error(errno, doing, place.path());
    fault = fault_of(place, found);
    if (!fault.empty()) return unfit_file(doing, place.path(), std::move(fault));
    return file;
}

}  // namespace

// An owner that ends just now may remove the file between our open and our lock: then the lock is on nothing.
Result<PidFile> PidFile::lock(const std::string& path) {
    for (int i = 0; i < kTries; ++i) {
        auto place = FilePlace::find(path);
        if (!place) return std::move(place.error());
        auto file = open_file(*place);
        if (!file) return std::move(file.error());
        const FileId id = id_of(file->get());
        if (!set_lock(file->get())) {
            const int sys_errno = errno;
            // No master has it then: it was left behind, and readers of it keep nobody from a new one.
            if (is_held_by_readers_alone(file->get())) {
                place->remove(id);
                continue;
            }
            if (sys_errno == EAGAIN || sys_errno == EACCES) return held_by_another(path, file->get());
            return system_error(sys_errno, "lock the pid file", path);
        }
        if (!place->holds(id)) continue;
        if (::ftruncate(file->get(), 0) != 0) return system_error(errno, "empty the pid file", path);
        return PidFile(path, std::move(*file));
    }
    return Error{ErrorCode::in_use, "lock the pid file", path, 0, "somebody keeps replacing it"};
}

Result<void> PidFile::publish() {
    const std::string line = fmt::format("{}\n", ::getpid());
    if (::pwrite(file_.get(), line.data(), line.size(), 0) == static_cast<ssize_t>(line.size())) return {};
    return system_error(errno, "write the pid file", path_);
}

// If our own file came back meanwhile, it was opened twice: with the one that is closed its lock is gone.
Result<bool> PidFile::restore() {
    const auto place = FilePlace::find(path_);
    if (place && place->holds(id_of(file_.get()))) return false;
    auto anew = lock(path_);
    if (anew) file_ = std::move(anew->file_);
    (void)set_lock(file_.get());
    if (!anew) return std::move(anew.error());
    if (auto published = publish(); !published) return std::move(published.error());
    return true;
}

PidFile::~PidFile() {
    if (!file_) return;
    if (const auto place = FilePlace::find(path_)) place->remove(id_of(file_.get()));
}

}  // namespace tcpd::master
