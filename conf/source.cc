#include "conf/source.h"

#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/owned_folder.h"

namespace tcpd::conf {

namespace {

constexpr size_t kMaxFileBytes = 16 * 1024 * 1024;

Error unfit(const std::string& path, std::string reason) {
    return Error{.code = ErrorCode::bad_config, .doing = "read", .on = path, .reason = std::move(reason)};
}

// One byte over the limit is read, to know that there is more: the size that fstat tells may be stale, or 0
// in /proc.
Result<std::string> read_to_end(int fd, const std::string& path) {
    std::string text;
    char buffer[64 * 1024];
    for (;;) {
        const ssize_t got = ::read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error(errno, "read", path);
        if (got == 0) return text;
        text.append(buffer, static_cast<size_t>(got));
        if (text.size() > kMaxFileBytes) return unfit(path, "it is larger than 16MiB");
    }
}

Result<std::string> read_file(const std::string& path) {
    const auto fd = open_to_read(path);
    if (!fd) return fd.error();
    return read_to_end(fd->get(), path);
}

// For glob: a folder that is not there matches nothing, one that can't be read is an error.
int on_glob_error(const char*, int error) { return error != ENOENT && error != ENOTDIR; }

Result<std::vector<std::string>> match_files(const std::string& pattern) {
    glob_t found{};
    const int result = ::glob(pattern.c_str(), GLOB_NOSORT, on_glob_error, &found);
    std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    ::globfree(&found);
    if (result != 0 && result != GLOB_NOMATCH)
        return Error{.code = ErrorCode::bad_config,
                     .doing = "match",
                     .on = pattern,
                     .reason = "a folder on its way cannot be read"};
    std::sort(paths.begin(), paths.end());
    return paths;
}

Error not_in_bundle(const char* doing, const std::string& on) {
    return Error{.code = ErrorCode::not_found, .doing = doing, .on = on, .reason = "it is not in the bundle"};
}

}  // namespace

Result<std::string> FileSource::read(const std::string& absolute_path) {
    if (const auto known = snapshot_.files.find(absolute_path); known != snapshot_.files.end())
        return known->second;
    Result<std::string> text = read_file(absolute_path);
    if (!text) return text;
    if (snapshot_.files.empty()) snapshot_.main_path = absolute_path;
    snapshot_.files.emplace(absolute_path, *text);
    return text;
}

Result<std::vector<std::string>> FileSource::match(const std::string& absolute_pattern) {
    Result<std::vector<std::string>> paths = match_files(absolute_pattern);
    if (paths) snapshot_.patterns.insert_or_assign(absolute_pattern, *paths);
    return paths;
}

Result<std::string> SnapshotSource::read(const std::string& absolute_path) {
    const auto known = snapshot_.files.find(absolute_path);
    if (known == snapshot_.files.end()) return not_in_bundle("read", absolute_path);
    return known->second;
}

Result<std::vector<std::string>> SnapshotSource::match(const std::string& absolute_pattern) {
    const auto known = snapshot_.patterns.find(absolute_pattern);
    if (known == snapshot_.patterns.end()) return not_in_bundle("match", absolute_pattern);
    return known->second;
}

}  // namespace tcpd::conf
