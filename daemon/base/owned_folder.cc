#include "daemon/base/owned_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

namespace tcpd {

namespace {

constexpr int kMostLinks = 40;  // as the kernel's
constexpr off_t kMostPidBytes = 32;
constexpr const char* kLinkOfOthers = "is a symbolic link in a folder that others may write";
constexpr const char* kSecondName = "it has another name as well, and others may write its folder";

// What is mounted for reading alone is written by nobody. The sticky bit is no help: others may put there what is not
// there yet.
bool is_ours(int folder, const struct stat& found) {
    if (found.st_uid != 0 && found.st_uid != ::geteuid()) return false;
    if ((found.st_mode & (S_IWGRP | S_IWOTH)) == 0) return true;
    struct statvfs mount {};
    return ::fstatvfs(folder, &mount) == 0 && (mount.f_flag & ST_RDONLY) != 0;
}

bool is_on_proc(int folder) {
    struct statfs mount {};
    return ::fstatfs(folder, &mount) == 0 && mount.f_type == PROC_SUPER_MAGIC;
}

// The first name of what is left to be walked, which loses it and the slashes around it.
std::string take_name(std::string& rest) {
    const size_t begin = std::min(rest.find_first_not_of('/'), rest.size());
    const size_t end = std::min(rest.find('/', begin), rest.size());
    std::string name = rest.substr(begin, end - begin);
    rest.erase(0, std::min(rest.find_first_not_of('/', end), rest.size()));
    return name;
}

std::string target_of(int link) {
    char target[PATH_MAX];
    const ssize_t length = ::readlinkat(link, "", target, sizeof target);
    return length < 0 ? std::string() : std::string(target, static_cast<size_t>(length));
}

}  // namespace

FileId id_of(const struct stat& status) { return {status.st_dev, status.st_ino}; }

FileId id_of(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 ? id_of(status) : FileId{};
}

Error unfit_file(std::string doing, const std::string& path, std::string reason) {
    return {.code = ErrorCode::in_use,
            .doing = std::move(doing),
            .on = path,
            .reason = std::move(reason),
            .hint = "move it away, or name another path"};
}

// -- the way to a file

void FilePlace::enter(UniqueFd folder, const struct stat& found) {
    is_ours_ = is_ours_ && tcpd::is_ours(folder.get(), found);
    folder_owner_ = found.st_uid;
    folder_ = std::move(folder);
}

Result<void> FilePlace::enter_root() {
    UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat found {};
    if (!root || ::fstat(root.get(), &found) != 0) return system_error(errno, "open the folder", "/");
    walked_.clear();
    is_ours_ = true;
    enter(std::move(root), found);
    return {};
}

// A link that may be followed is walked as if its target stood in the path: it may lead through others' folders, too.
Result<void> FilePlace::walk(std::string rest, LastLink last) {
    for (int links = 0;;) {
        name_ = take_name(rest);
        const bool is_last = rest.empty();
        if (is_last && last == LastLink::kept) return {};
        if (name_ == "." && !is_last) continue;
        const std::string here = walked_ + "/" + name_;
        const char* doing = is_last ? "open" : "open the folder";
        UniqueFd next(::openat(folder_.get(), name_.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        struct stat found {};
        if (!next && errno == ENOENT && is_last) return {};
        if (!next || ::fstat(next.get(), &found) != 0) return system_error(errno, doing, here);
        if (S_ISLNK(found.st_mode)) {
            is_magic_ = is_last && is_on_proc(folder_.get());
            if (is_magic_) return {};
            if (!is_ours_) {
                const std::string it = here == path_ ? "it" : fmt::format("\"{}\"", here);
                return unfit_file(doing, here, fmt::format("{} {}", it, kLinkOfOthers));
            }
            const std::string target = target_of(next.get());
            if (target.empty() || ++links > kMostLinks) return system_error(ELOOP, doing, here);
            if (target.starts_with('/')) {
                if (auto done = enter_root(); !done) return done;
            }
            rest = is_last ? target : target + "/" + rest;
            continue;
        }
        if (is_last) return {};
        if (!S_ISDIR(found.st_mode)) return system_error(ENOTDIR, doing, here);
        walked_ = here;
        enter(std::move(next), found);
    }
}

Result<FilePlace> FilePlace::find(const std::string& path, LastLink last) {
    FilePlace place;
    place.path_ = path;
    auto done = place.enter_root();
    if (done) done = place.walk(path, last);
    if (!done) return std::move(done.error());
    return place;
}

Result<FilePlace> FilePlace::beside(const std::string& name) const {
    FilePlace place;
    place.path_ = path_.substr(0, path_.rfind('/') + 1) + name;
    place.name_ = name;
    place.walked_ = walked_;
    place.folder_owner_ = folder_owner_;
    place.is_ours_ = is_ours_;
    place.folder_.reset(::fcntl(folder_.get(), F_DUPFD_CLOEXEC, 3));
    if (!place.folder_) return system_error(errno, "keep open the folder of", path_);
    return place;
}

// -- what lies there

Result<std::optional<struct stat>> FilePlace::status() const {
    struct stat found {};
    const int flags = is_magic_ ? 0 : AT_SYMLINK_NOFOLLOW;
    if (::fstatat(folder_.get(), name_.c_str(), &found, flags) == 0) return std::optional(found);
    if (errno == ENOENT) return std::optional<struct stat>();
    return system_error(errno, "look at", path_);
}

bool FilePlace::holds(const FileId& id) const {
    const auto found = status();
    return found && *found && id_of(**found) == id;
}

// Without O_NONBLOCK a FIFO that nobody reads would be waited for.
UniqueFd FilePlace::open(int flags, mode_t mode) const {
    const int no_links = is_magic_ ? 0 : O_NOFOLLOW;
    return UniqueFd(
        ::openat(folder_.get(), name_.c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | no_links, mode));
}

// Between the look and the removal its folder's owner may exchange it for another file of this folder, which he may
// remove himself.
void FilePlace::remove(const FileId& id) const {
    if (holds(id)) ::unlinkat(folder_.get(), name_.c_str(), 0);
}

std::string FilePlace::fault_of(const struct stat& found, FileUse use) const {
    if (S_ISDIR(found.st_mode)) return ::strerror(EISDIR);
    if (S_ISLNK(found.st_mode))
        return is_ours_ ? "it is a symbolic link" : fmt::format("it {}", kLinkOfOthers);
    if (use == FileUse::socket)
        return S_ISSOCK(found.st_mode) ? "" : "the path leads to a file that is no socket";
    const std::string folder = walked_ + "/";
    const bool may_be_special =
        use == FileUse::log && is_ours_ && (folder.starts_with("/dev/") || folder.starts_with("/proc/"));
    if (!S_ISREG(found.st_mode)) return may_be_special ? "" : "it is no regular file";
    if (use == FileUse::log) return !is_ours_ && found.st_nlink > 1 ? kSecondName : "";
    if (found.st_nlink > 1) return "it has another name as well, a hard link, whose file would be emptied";
    if (found.st_size > kMostPidBytes)
        return fmt::format("it is no pid file: it has {} bytes in it", found.st_size);
    return "";
}

std::string FilePlace::strangeness_of(const struct stat& found, uid_t owner) const {
    const uid_t user = found.st_uid;
    if (is_ours_ || user == 0 || user == ::geteuid() || user == owner) return "";
    return fmt::format("it belongs to user {}, and others may write its folder", user);
}

// -- opened

// What is there is looked at first, since opening a device may do something, and once more when it is open.
Result<UniqueFd> open_to_append(const std::string& path, mode_t mode) {
    const char* doing = "open for writing";
    auto place = FilePlace::find(path, LastLink::followed);
    if (!place) return std::move(place.error());
    auto there = place->status();
    if (!there) return std::move(there.error());
    std::string fault = *there ? place->fault_of(**there, FileUse::log) : "";
    if (!fault.empty()) return unfit_file(doing, path, std::move(fault));
    UniqueFd fd = place->open(O_WRONLY | O_APPEND | O_CREAT, mode);
    struct stat found {};
    if (!fd || ::fstat(fd.get(), &found) != 0) return system_error(errno, doing, path);
    fault = place->fault_of(found, FileUse::log);
    if (!fault.empty()) return unfit_file(doing, path, std::move(fault));
    if (S_ISREG(found.st_mode)) return fd;
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
    return fd;
}

namespace {

Error unreadable(const std::string& path, std::string reason) {
    return {.code = ErrorCode::bad_config, .doing = "read", .on = path, .reason = std::move(reason)};
}

Result<UniqueFd> open_to_read_as_anybody(const std::string& path) {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) return system_error(errno, "read", path);
    if (!S_ISREG(found.st_mode)) return unreadable(path, "it is not a regular file");
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd || ::fstat(fd.get(), &found) != 0) return system_error(errno, "read", path);
    if (!S_ISREG(found.st_mode)) return unreadable(path, "it is not a regular file");
    return fd;
}

}  // namespace

// A second name of a file of the folder's owner shows nothing that he can't read himself.
Result<UniqueFd> open_to_read(const std::string& path) {
    if (::geteuid() != 0) return open_to_read_as_anybody(path);
    auto place = FilePlace::find(path, LastLink::followed);
    if (!place) return std::move(place.error());
    auto there = place->status();
    if (!there) return std::move(there.error());
    if (*there && !S_ISREG((*there)->st_mode)) return unreadable(path, "it is not a regular file");
    UniqueFd fd = place->open(O_RDONLY);
    struct stat found {};
    if (!fd || ::fstat(fd.get(), &found) != 0) return system_error(errno, "read", path);
    if (!S_ISREG(found.st_mode)) return unreadable(path, "it is not a regular file");
    if (!place->is_ours() && found.st_nlink > 1 && found.st_uid != place->folder_owner_)
        return unreadable(path, kSecondName);
    return fd;
}

Result<UniqueFd> open_socket_file(const FilePlace& place, const FileId& expected) {
    UniqueFd fd = place.open(O_PATH);
    struct stat found {};
    if (!fd || ::fstat(fd.get(), &found) != 0) return system_error(errno, "look at the socket", place.path());
    if (!S_ISSOCK(found.st_mode) || id_of(found) != expected)
        return unfit_file("look at the socket", place.path(), "somebody put another file in its place");
    return fd;
}

}  // namespace tcpd
