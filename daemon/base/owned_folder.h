#pragma once

// Files in folders that others may write: whoever owns a folder puts a link, a FIFO or another's file in the place of
// what was there a moment ago. A path is walked folder by folder and link by link; below the first folder that is not
// root's or our own, or that others may write, no link is followed. What lies there is opened, renamed and removed by
// the folder's descriptor, and looked at before and after. Master, and whoever reads a configuration. If the process
// dies in here, a file may be there that is empty. Source: open(2), path_resolution(7), symlink(7).

#include <sys/stat.h>

#include <optional>
#include <string>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd {

struct FileId {
    uint64_t device = 0, inode = 0;
    bool operator==(const FileId&) const = default;
};
FileId id_of(const struct stat& status);
// All zero, which no file is, if it can't be told.
FileId id_of(int fd);

enum class LastLink : uint8_t { kept, followed };
// What is to lie there.
enum class FileUse : uint8_t { log, pid_file, socket };

// Where a file lies or is to lie: its folder, by descriptor, and its name there.
class FilePlace {
public:
    static Result<FilePlace> find(const std::string& path, LastLink last = LastLink::kept);
    // Of another name in the same folder.
    Result<FilePlace> beside(const std::string& name) const;
    const std::string& path() const { return path_; }
    const std::string& name() const { return name_; }
    int folder() const { return folder_.get(); }
    // Nobody but root and we can change what lies here, or on the way to it.
    bool is_ours() const { return is_ours_; }

    // Of what lies here, a link itself; nothing: none.
    Result<std::optional<struct stat>> status() const;
    bool holds(const FileId& id) const;
    // Follows no link and waits for nobody. Errors are in errno.
    UniqueFd open(int flags, mode_t mode = 0) const;
    void remove(const FileId& id) const;

    // Why what lies here is no use; empty: nothing is wrong.
    std::string fault_of(const struct stat& found, FileUse use) const;
    // Why it may not be taken for our own, where `owner`, root and we might have made it.
    std::string strangeness_of(const struct stat& found, uid_t owner) const;

private:
    void enter(UniqueFd folder, const struct stat& found);
    Result<void> enter_root();
    Result<void> walk(std::string rest, LastLink last);
    std::string path_, name_;
    std::string walked_;  // to the folder, without links
    UniqueFd folder_;
    uid_t folder_owner_ = 0;
    bool is_ours_ = true;
    bool is_magic_ = false;  // a link of /proc, which leads to no path
    friend Result<UniqueFd> open_to_read(const std::string& path);
};

Error unfit_file(std::string doing, const std::string& path, std::string reason);

// A regular file to append to, made with `mode` if it is not there. In /dev and /proc it may be another kind. Anything
// else in its place is an Error at once.
Result<UniqueFd> open_to_append(const std::string& path, mode_t mode);
// A regular file. Without root's rights links are followed wherever they are: there is nothing that they give away.
Result<UniqueFd> open_to_read(const std::string& path);
// The socket file, by O_PATH: no link, no other kind of file, and the one that `expected` is.
Result<UniqueFd> open_socket_file(const FilePlace& place, const FileId& expected);

}  // namespace tcpd
