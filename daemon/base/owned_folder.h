#pragma once

// Files in folders that others may write: whoever owns a folder puts a link, a FIFO or another's file in the place of
// what was there a moment ago. A path is walked folder by folder; below the first one that is not root's or our own, or
// that others may write, no link is followed, and what is opened or changed is looked at through its descriptor.
// Master. If the process dies in here, a file may be there that is empty. Source: open(2), path_resolution(7).

#include <sys/stat.h>

#include <string>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd {

// A regular file to append to, made with `mode` if it is not there. In /dev and /proc it may be another kind. Anything
// else in its place is an Error at once.
Result<UniqueFd> open_to_append(const std::string& path, mode_t mode);

// The socket file at `path`, by O_PATH: no link, no other kind of file, and the one that `expected` is.
struct FileId {
    uint64_t device = 0, inode = 0;
    bool operator==(const FileId&) const = default;
};
Result<UniqueFd> open_socket_file(const std::string& path, const FileId& expected);
FileId id_of(const struct stat& status);

}  // namespace tcpd
