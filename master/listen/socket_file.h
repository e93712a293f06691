#pragma once

// The files of the unix sockets that the master binds. One comes to its path by a rename where something stale lies
// there or others may write the folder; it has its own name until then, so that it can be given its rights and listen
// before anybody finds it. Master only. If the master dies in here, a file with a temporary name may stay behind; the
// next start takes no harm from it. Source: unix(7), renameat2(2).

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/base/error.h"
#include "daemon/base/owned_folder.h"

namespace tcpd::master {

// Whose socket a path leads to, and the mode and group that it was made with, which it has again where the
// configuration says nothing else.
struct UnixFile {
    std::string path;
    uint64_t device = 0, inode = 0;
    uint32_t mode = 0, group = 0;
    FileId id() const { return {device, inode}; }
};

// What lies where a socket is to be: nothing, or one that may be replaced if nobody listens to it. Anything else, or
// one that none of `owner`, root and us made, is an Error.
Result<std::optional<FileId>> find_socket(const FilePlace& place, uid_t owner, const std::string& doing);

class NewSocketFile {
public:
    // `place` outlives it; `found`: of find_socket.
    static Result<NewSocketFile> bind(int socket, const FilePlace& place, std::optional<FileId> found,
                                      const std::string& doing);
    NewSocketFile(NewSocketFile&&) = default;
    ~NewSocketFile();  // removed, if it is not in place
    const UnixFile& file() const { return file_; }
    // By O_PATH.
    Result<UniqueFd> open() const { return open_socket_file(at_, file_.id()); }
    Result<UnixFile> put_in_place();

private:
    NewSocketFile(const FilePlace& place, FilePlace at, std::optional<FileId> found, std::string doing);
    Result<void> note_file();
    const FilePlace& place_;
    FilePlace at_;
    std::optional<FileId> found_;
    std::string doing_;
    UnixFile file_;
    bool is_owed_ = true;  // a removal
};

// Whether the path still leads to the socket that was bound there.
bool is_in_place(const UnixFile& file);
// Only if it does.
void remove_file(const UnixFile& file);

}  // namespace tcpd::master
