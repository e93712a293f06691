#include "daemon/base/owned_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace tcpd {

namespace {

struct Folder {
    UniqueFd fd;
    bool is_ours = true;  // nobody but root and we can change what lies in it, or on the way to it
};

// The sticky bit is no help: others may put there what is not there yet.
bool is_ours(const struct stat& status) {
    return (status.st_uid == 0 || status.st_uid == ::geteuid()) &&
           (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

Result<Folder> open_folder(const std::string& path) {
    Folder folder{UniqueFd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC))};
    if (!folder.fd) return system_error(errno, "open the folder", "/");
    for (size_t at = 1; at <= path.size();) {
        const size_t end = std::min(path.find('/', at), path.size());
        const std::string name = path.substr(at, end - at);
        at = end + 1;
        if (name.empty()) continue;
        const int no_links = folder.is_ours ? 0 : O_NOFOLLOW;
        UniqueFd next(::openat(folder.fd.get(), name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | no_links));
        struct stat status {};
        if (!next || ::fstat(next.get(), &status) != 0)
            return system_error(errno, "open the folder", path.substr(0, end));
        folder.is_ours = folder.is_ours && is_ours(status);
        folder.fd = std::move(next);
    }
    return folder;
}

Error wrong_kind(const std::string& doing, const std::string& path, const std::string& reason) {
    return {.code = ErrorCode::in_use,
            .doing = doing,
            .on = path,
            .reason = reason,
            .hint = "move it away, or name another path"};
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

FileId id_of(const struct stat& status) { return {status.st_dev, status.st_ino}; }

Result<UniqueFd> open_to_append(const std::string& path, mode_t mode) {
    auto folder = open_folder(folder_of(path));
    if (!folder) return std::move(folder.error());
    const int no_links = folder->is_ours ? 0 : O_NOFOLLOW;
    // Without O_NONBLOCK a FIFO that nobody reads would be waited for.
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | no_links;
    UniqueFd fd(::openat(folder->fd.get(), name_of(path).c_str(), flags, mode));
    if (!fd && errno == ELOOP)
        return wrong_kind("open for writing", path,
                          "it is a symbolic link in a folder that others may write");
    if (!fd && errno == ENXIO) return wrong_kind("open for writing", path, "it is no regular file");
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) return system_error(errno, "open for writing", path);
    const bool is_special = path.starts_with("/dev/") || path.starts_with("/proc/");
    if (!S_ISREG(status.st_mode) && !is_special)
        return wrong_kind("open for writing", path, "it is no regular file");
    if (!folder->is_ours && status.st_nlink > 1)
        return wrong_kind("open for writing", path,
                          "it has another name as well, and others may write its folder");
    if (S_ISREG(status.st_mode)) return fd;
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
    return fd;
}

Result<UniqueFd> open_socket_file(const std::string& path, const FileId& expected) {
    auto folder = open_folder(folder_of(path));
    if (!folder) return std::move(folder.error());
    UniqueFd fd(::openat(folder->fd.get(), name_of(path).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) return system_error(errno, "look at the socket", path);
    if (!S_ISSOCK(status.st_mode) || id_of(status) != expected)
        return wrong_kind("look at the socket", path, "somebody put another file in its place");
    return fd;
}

}  // namespace tcpd
