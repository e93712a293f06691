#include "master/listen/socket_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "daemon/base/net/address.h"

namespace tcpd::master {

namespace {

Error exchanged(const std::string& doing, const std::string& path) {
    return {.code = ErrorCode::in_use,
            .doing = doing,
            .on = path,
            .reason = "somebody exchanged the file of the socket while it was made",
            .hint = "its folder may be written by others: name one that belongs to root"};
}

// By the folder's number: a path that just fits into an address leaves no room for a longer name.
Result<Address> address_in(const FilePlace& place) {
    return Address::parse(fmt::format("unix:/proc/self/fd/{}/{}", place.folder(), place.name()), false);
}

// Not every file system knows a rename that replaces nothing.
bool rename_to(const FilePlace& from, const FilePlace& to, bool may_replace) {
    const unsigned flags = may_replace ? 0 : RENAME_NOREPLACE;
    const char* const name = from.name().c_str();
    if (::renameat2(from.folder(), name, to.folder(), to.name().c_str(), flags) == 0) return true;
    return errno == EINVAL && !may_replace &&
           ::renameat(from.folder(), name, to.folder(), to.name().c_str()) == 0;
}

}  // namespace

Result<std::optional<FileId>> find_socket(const FilePlace& place, uid_t owner, const std::string& doing) {
    auto there = place.status();
    if (!there) return std::move(there.error());
    if (!*there) return std::optional<FileId>();
    std::string fault = place.fault_of(**there, FileUse::socket);
    if (fault.empty()) fault = place.strangeness_of(**there, owner);
    if (!fault.empty()) return unfit_file(doing, place.path(), std::move(fault));
    return std::optional(id_of(**there));
}

NewSocketFile::NewSocketFile(const FilePlace& place, FilePlace at, std::optional<FileId> found,
                             std::string doing)
    : place_(place), at_(std::move(at)), found_(found), doing_(std::move(doing)) {}

// What was moved from has no folder any more, and finds nothing.
NewSocketFile::~NewSocketFile() {
    if (is_owed_) at_.remove(file_.id());
}

Result<NewSocketFile> NewSocketFile::bind(int socket, const FilePlace& place, std::optional<FileId> found,
                                          const std::string& doing) {
    const bool is_direct = !found && place.is_ours();
    auto at = place.beside(is_direct ? place.name() : fmt::format(".tcpd.{}", ::getpid()));
    if (!at) return std::move(at.error());
    if (!is_direct) ::unlinkat(at->folder(), at->name().c_str(), 0);  // of a predecessor that died in here
    auto address = is_direct ? Address::parse("unix:" + place.path(), false) : address_in(*at);
    if (!address) return std::move(address.error());
    if (::bind(socket, address->get(), address->length()) != 0)
        return system_error(errno, doing, place.path());
    NewSocketFile made(place, std::move(*at), found, doing);
    if (auto noted = made.note_file(); !noted) return std::move(noted.error());
    return made;
}

// It is ours, and has no other name: what somebody put there meanwhile is not.
Result<void> NewSocketFile::note_file() {
    const auto found = at_.status();
    if (!found) return found.error();
    if (!*found || !S_ISSOCK((*found)->st_mode) || (*found)->st_uid != ::geteuid() || (*found)->st_nlink != 1)
        return exchanged(doing_, place_.path());
    file_ = {place_.path(), (*found)->st_dev, (*found)->st_ino, (*found)->st_mode & 07777, (*found)->st_gid};
    return {};
}

Result<UnixFile> NewSocketFile::put_in_place() {
    if (at_.name() != place_.name()) {
        if (!at_.holds(file_.id()) || (found_ && !place_.holds(*found_)))
            return exchanged(doing_, place_.path());
        if (!rename_to(at_, place_, found_.has_value())) return system_error(errno, doing_, place_.path());
    }
    is_owed_ = false;
    return file_;
}

bool is_in_place(const UnixFile& file) {
    const auto place = FilePlace::find(file.path);
    return place && place->holds(file.id());
}

// The number of a file that is gone may be another's by now, but hardly a socket's.
void remove_file(const UnixFile& file) {
    if (file.path.empty()) return;
    const auto place = FilePlace::find(file.path);
    if (!place) return;
    const auto found = place->status();
    if (found && *found && S_ISSOCK((*found)->st_mode)) place->remove(file.id());
}

}  // namespace tcpd::master
