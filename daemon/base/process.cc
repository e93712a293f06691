#include "daemon/base/process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "daemon/base/cpu_quota.h"
#include "daemon/base/text.h"
#include "daemon/base/unique_fd.h"

namespace tcpd {

namespace {

// The kernel shows as a process's command line whatever lies where argv was at the exec; if its last byte is
// no longer a NUL, it reads on into what was environ.
// Of every process, whatever its title: pidof, pgrep -x and ps -C look for it. An image would have the number
// of the descriptor that it was executed from.
constexpr const char* kProcessName = "tcpd";

char* title_area = nullptr;
size_t title_bytes = 0;
// libc's setenv leaves it for an array of its own; kept so that leak checkers still find it.
[[gnu::used]] char** kept_environ = nullptr;
[[gnu::used]] char* kept_environ_text = nullptr;  // all entries of it, as unsetenv drops single ones

// `end` moves over `text` if it begins there.
void extend(const char*& end, const char* text) {
    if (text == end) end = text + strlen(text) + 1;
}

void copy_strings(char** strings) {
    for (; *strings; ++strings) *strings = strdup(*strings);
}

// The array as well: setenv and putenv of libc write into it.
char** copy_environ(char** from) {
    size_t count = 0, bytes = 0;
    for (; from[count]; ++count) bytes += strlen(from[count]) + 1;
    auto** copy = static_cast<char**>(calloc(count + 1, sizeof(char*)));
    char* end = kept_environ_text = static_cast<char*>(malloc(bytes + 1));
    for (size_t i = 0; i < count; ++i) {
        copy[i] = end;
        end = stpcpy(end, from[i]) + 1;
    }
    return copy;
}

// Of a passwd or group entry: ERANGE beyond it is taken for an error.
constexpr size_t kMostEntryBytes = 1 << 20;

bool is_user_already(const User& user) {
    uid_t real = 0, effective = 0, saved = 0;
    gid_t real_group = 0, effective_group = 0, saved_group = 0;
    getresuid(&real, &effective, &saved);
    getresgid(&real_group, &effective_group, &saved_group);
    return effective != 0 && real == user.uid && effective == user.uid && saved == user.uid &&
           real_group == user.gid && effective_group == user.gid && saved_group == user.gid;
}

Result<void> change_ids(const User& user) {
    if (setgroups(user.groups.size(), user.groups.data()) != 0) {
        return system_error(errno, "take the groups of user", user.name);
    }
    if (setresgid(user.gid, user.gid, user.gid) != 0) {
        return system_error(errno, "take the group of user", user.name);
    }
    if (setresuid(user.uid, user.uid, user.uid) != 0) return system_error(errno, "become user", user.name);
    return {};
}

// The lookup is getpwnam_r or getgrnam_r, which ask for a larger buffer by ERANGE.
template <typename Entry, typename Lookup>
Result<Entry> look_up(const char* kind, const std::string& name, std::vector<char>& buffer, Lookup lookup) {
    Entry entry{};
    Entry* found = nullptr;
    buffer.resize(4096);
    int failed = lookup(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    while (failed == ERANGE && buffer.size() < kMostEntryBytes) {
        buffer.resize(buffer.size() * 2);
        failed = lookup(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    }
    if (found) return entry;
    bool absent = failed == 0 || failed == ENOENT || failed == ESRCH;
    std::string doing = std::string("find ") + kind;
    if (!absent) return system_error(failed, doing, quoted(name));
    return Error{ErrorCode::not_found, doing, quoted(name), 0, std::string("there is no such ") + kind};
}

std::vector<gid_t> groups_of(const std::string& name, gid_t gid) {
    std::vector<gid_t> groups(64);
    int count = static_cast<int>(groups.size());
    while (getgrouplist(name.c_str(), gid, groups.data(), &count) < 0) {
        groups.resize(std::max<size_t>(groups.size() * 2, static_cast<size_t>(count)));
        count = static_cast<int>(groups.size());
    }
    groups.resize(static_cast<size_t>(count));
    return groups;
}

unsigned affinity_cpus() {
    for (size_t cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t* set = CPU_ALLOC(cpus);
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        bool known = sched_getaffinity(0, bytes, set) == 0;
        int count = known ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (known) return static_cast<unsigned>(std::max(count, 1));
        if (errno != EINVAL) break;
    }
    return 1;
}

std::string read_all(const char* path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace

void keep_argv(int argc, char** argv) {
    if (argc < 1) return;
    const char* end = argv[0];
    for (char** text = argv; *text; ++text) extend(end, *text);
    for (char** text = environ; *text; ++text) extend(end, *text);
    title_area = argv[0];
    title_bytes = static_cast<size_t>(end - argv[0]);

    copy_strings(argv);
    environ = kept_environ = copy_environ(environ);
    program_invocation_name = argv[0];
    const char* slash = strrchr(argv[0], '/');
    program_invocation_short_name = slash ? argv[0] + (slash - argv[0]) + 1 : argv[0];
}

void set_process_title(std::string_view title) {
    if (title_bytes > 0) {
        size_t used = std::min(title.size(), title_bytes - 1);
        memcpy(title_area, title.data(), used);
        memset(title_area + used, 0, title_bytes - used);
    }
    prctl(PR_SET_NAME, kProcessName, 0, 0, 0);
}

Result<User> find_user(const std::string& name) {
    std::vector<char> buffer;
    Result<passwd> entry = look_up<passwd>("user", name, buffer, getpwnam_r);
    if (!entry) return std::move(entry.error());
    return User{entry->pw_uid, entry->pw_gid, groups_of(name, entry->pw_gid), name};
}

Result<gid_t> find_group(const std::string& name) {
    std::vector<char> buffer;
    Result<group> entry = look_up<group>("group", name, buffer, getgrnam_r);
    if (!entry) return std::move(entry.error());
    return entry->gr_gid;
}

Result<void> become_user(const User& user) {
    if (!is_user_already(user)) {
        Result<void> changed = change_ids(user);
        if (!changed) return changed;
    }
    Result<void> dropped = drop_capabilities();
    if (!dropped) return dropped;
    if (user.uid != 0 && (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0)) {
        Error error{ErrorCode::no_permission, "give up root for user", user.name};
        error.reason = "the way back is still open";
        return error;
    }
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0)
        return system_error(errno, "allow core dumps of user", user.name);
    return {};
}

Result<void> drop_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    if (syscall(SYS_capset, &header, none) != 0) return system_error(errno, "drop all capabilities");
    return {};
}

bool has_capability(int capability) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
    if (syscall(SYS_capget, &header, sets) != 0) return false;
    return (sets[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

Result<uint64_t> raise_descriptor_limit(uint64_t most) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return system_error(errno, "read the descriptor limit");
    // Lowered as well: tables are sized by it, and no descriptor may lie outside of them.
    limit.rlim_cur = std::min<uint64_t>(limit.rlim_max, most);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return system_error(errno, "set the descriptor limit to", std::to_string(limit.rlim_cur));
    }
    return limit.rlim_cur;
}

UniqueFd make_memfd(const std::string& name) {
    constexpr unsigned kNoExecSeal = 0x0008U;  // older headers have no name for it
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    UniqueFd fd(::memfd_create(name.c_str(), flags | kNoExecSeal));
    if (!fd && errno == EINVAL) fd.reset(::memfd_create(name.c_str(), flags));
    return fd;
}

UniqueFd make_sealed_memfd(const std::string& name, uint64_t bytes) {
    UniqueFd fd = make_memfd(name);
    const bool sealed = fd && ::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0 &&
                        ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0;
    return sealed ? std::move(fd) : UniqueFd();
}

unsigned usable_cpus() {
    unsigned cpus = affinity_cpus();
    std::optional<unsigned> quota = cpu_quota(read_all("/proc/self/cgroup"), "/sys/fs/cgroup");
    return quota ? std::min(cpus, *quota) : cpus;
}

Result<void> settle_standard_descriptors() {
    UniqueFd null(open("/dev/null", O_RDWR));
    if (!null) return system_error(errno, "open", "/dev/null");
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        bool replace = fd == STDIN_FILENO || fcntl(fd, F_GETFD) < 0;
        if (replace && dup2(null.get(), fd) < 0)
            return system_error(errno, "put /dev/null in the place of", std::to_string(fd));
    }
    if (null.get() <= STDERR_FILENO) null.release();
    return {};
}

std::string describe_exit(int code, int status) {
    switch (code) {
        case CLD_EXITED: return "exited with " + std::to_string(status);
        case CLD_KILLED: return "killed by " + signal_name(status);
        case CLD_DUMPED: return "killed by " + signal_name(status) + ", core dumped";
        case CLD_STOPPED: return "stopped by " + signal_name(status);
        case CLD_CONTINUED: return "continued";
        default: return "changed its state (code " + std::to_string(code) + ")";
    }
}

std::string signal_name(int signal_number) {
    if (const char* name = sigabbrev_np(signal_number)) return std::string("SIG") + name;
    if (signal_number == SIGRTMIN) return "SIGRTMIN";
    if (signal_number > SIGRTMIN && signal_number <= SIGRTMAX) {
        return "SIGRTMIN+" + std::to_string(signal_number - SIGRTMIN);
    }
    return "signal " + std::to_string(signal_number);
}

}  // namespace tcpd
