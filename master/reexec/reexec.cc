#include "master/reexec/reexec.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "conf/load.h"
#include "daemon/base/signals.h"

namespace tcpd::master {

namespace {

constexpr off_t kMostBytes = 64 * 1024 * 1024;

void set_kept(const std::vector<int>& descriptors, bool kept) {
    for (const int fd : descriptors) ::fcntl(fd, F_SETFD, kept ? 0 : FD_CLOEXEC);
}

}  // namespace

Result<UniqueFd> write_state(const MasterState& state) {
    const std::string bytes = encode(state);
    UniqueFd fd(::memfd_create("tcpd-master", MFD_CLOEXEC));
    if (!fd) return system_error(errno, "keep the master's state");
    for (size_t at = 0; at < bytes.size();) {
        const ssize_t put = ::write(fd.get(), bytes.data() + at, bytes.size() - at);
        if (put < 0 && errno != EINTR) return system_error(errno, "keep the master's state");
        if (put > 0) at += static_cast<size_t>(put);
    }
    return fd;
}

Error execute_in_place(int program, const MasterState& state) {
    auto fd = write_state(state);
    if (!fd) return std::move(fd.error());
    std::vector<int> kept = descriptors_of(state);
    kept.push_back(fd->get());
    std::string title = "tcpd: master " + state.config_path, flag = kResumeFlag;
    std::string number = fmt::format("{}", fd->get());
    char* argv[] = {title.data(), flag.data(), number.data(), nullptr};
    block_all_signals();
    set_kept(kept, true);
    ::fexecve(program, argv, environ);
    const int sys_errno = errno;
    set_kept(kept, false);
    unblock_all_signals();
    return system_error(sys_errno, "execute the new program in place");
}

Result<MasterState> read_state(int fd) {
    struct stat about {};
    if (::fstat(fd, &about) != 0) return system_error(errno, "read the state of the master before");
    if (about.st_size > kMostBytes) {
        return Error{ErrorCode::bad_format, "read the state of the master before", "", 0, "it is over 64MiB"};
    }
    std::string bytes(static_cast<size_t>(about.st_size), '\0');
    const ssize_t got = ::pread(fd, bytes.data(), bytes.size(), 0);
    if (got != about.st_size) return system_error(errno, "read the state of the master before");
    return decode(bytes);
}

Result<conf::Config> read_config(int bundle_fd) {
    auto loaded = conf::load_bundle(bundle_fd);
    if (!loaded) return std::move(loaded.error());
    if (loaded->problems.empty()) return std::move(loaded->config);
    return Error{ErrorCode::bad_config, "take over the configuration", loaded->config.path, 0,
                 loaded->problems.front().text()};
}

}  // namespace tcpd::master
