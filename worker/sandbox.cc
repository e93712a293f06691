#include "worker/sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "daemon/base/process.h"
#include "daemon/base/unique_fd.h"
#include "worker/standby.h"

namespace tcpd::worker {

namespace {

constexpr uint32_t kDenied[] = {
    // programs and processes
    SYS_execve, SYS_execveat, SYS_fork, SYS_vfork, SYS_uselib, SYS_personality, SYS_setns, SYS_acct,
    // other processes' memory and descriptors
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_process_mrelease,
    SYS_kcmp, SYS_pidfd_getfd, SYS_move_pages, SYS_migrate_pages,
    // large surfaces of the kernel
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_fanotify_init, SYS_lookup_dcookie,
    SYS_syslog,
    // the file tree
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen,
    SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_quotactl, SYS_quotactl_fd,
    SYS_name_to_handle_at, SYS_open_by_handle_at,
    // the machine
    SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot,
    SYS_swapon, SYS_swapoff, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,
    SYS_sethostname, SYS_setdomainname, SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_vhangup};

constexpr uint32_t kDeny = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kPretendMissing = SECCOMP_RET_ERRNO | ENOSYS;
constexpr uint32_t kX32Bit = 0x40000000;
constexpr uint32_t kThreadFlags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
constexpr uint32_t kNamespaceFlags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr uint32_t kFirstArgument = offsetof(seccomp_data, args);  // its low half, little endian

// As in kernels newer than the headers that this is built with; what a kernel does not know is zero and
// accepted.
struct LandlockRuleset {
    uint64_t handled_access_fs, handled_access_net, scoped;
};
struct LandlockPathBeneath {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));
constexpr int kLandlockPathBeneath = 1;
// What a dump does: it makes a new file, after it has removed the old one.
constexpr uint64_t kCoreFileRights =
    LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
// Abstract unix sockets and signals: to other processes than worker and standby.
constexpr uint64_t kScopes = 3;
// Rights over files that each ABI knows: 13 at first, then refer, truncate and ioctl on devices.
constexpr unsigned kFileRights[] = {0, 13, 14, 15, 15, 16};

class Program {
public:
    void load(uint32_t offset) { add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
    void mask(uint32_t bits) { add(BPF_ALU | BPF_AND | BPF_K, 0, 0, bits); }
    void answer(uint32_t action) { add(BPF_RET | BPF_K, 0, 0, action); }
    void answer_if_equal(uint32_t value, uint32_t action) {
        skip_unless_equal(value, 1);
        answer(action);
    }
    void answer_unless_equal(uint32_t value, uint32_t action) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
        answer(action);
    }
    void answer_if_at_least(uint32_t value, uint32_t action) {
        add(BPF_JMP | BPF_JGE | BPF_K, 0, 1, value);
        answer(action);
    }
    void skip_unless_equal(uint32_t value, uint8_t instructions) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, instructions, value);
    }
    size_t size() const { return code_.size(); }
    void append(const Program& other) { code_.insert(code_.end(), other.code_.begin(), other.code_.end()); }
    std::vector<sock_filter> take() { return std::move(code_); }

private:
    void add(int code, uint8_t if_true, uint8_t if_false, uint32_t k) {
        code_.push_back({static_cast<uint16_t>(code), if_true, if_false, k});
    }
    std::vector<sock_filter> code_;
};

void judge_call(Program& program, uint32_t number, const Program& verdict) {
    program.skip_unless_equal(number, static_cast<uint8_t>(verdict.size()));
    program.append(verdict);
}

// unshare(CLONE_THREAD) only asks whether there are other threads.
Program unshare_verdict() {
    Program verdict;
    verdict.load(kFirstArgument + 4);
    verdict.answer_unless_equal(0, kDeny);
    verdict.load(kFirstArgument);
    verdict.answer_if_equal(CLONE_THREAD, SECCOMP_RET_ALLOW);
    verdict.answer(kDeny);
    return verdict;
}

Program clone_verdict() {
    Program verdict;
    verdict.load(kFirstArgument + 4);
    verdict.answer_unless_equal(0, kDeny);
    verdict.load(kFirstArgument);
    verdict.answer_if_equal(static_cast<uint32_t>(kStandbyFlags), SECCOMP_RET_ALLOW);
    verdict.mask(kThreadFlags | kNamespaceFlags);
    verdict.answer_if_equal(kThreadFlags, SECCOMP_RET_ALLOW);
    verdict.answer(kDeny);
    return verdict;
}

// Empty: no core file is wanted, or none could be made anyway.
std::string wanted_core_directory() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur == 0) return {};
    std::string pattern;
    std::getline(std::ifstream("/proc/sys/kernel/core_pattern"), pattern);
    std::string directory = core_directory(pattern);
    std::error_code unknown;
    if (directory == ".") directory = std::filesystem::current_path(unknown);
    return ::access(directory.c_str(), W_OK) == 0 ? directory : std::string();
}

bool let_write_below(int ruleset, const std::string& directory) {
    const UniqueFd parent(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const LandlockPathBeneath rule{kCoreFileRights, parent.get()};
    return ::syscall(SYS_landlock_add_rule, ruleset, kLandlockPathBeneath, &rule, 0U) == 0;
}

std::string enter_landlock() {
    // 1: LANDLOCK_CREATE_RULESET_VERSION
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U);
    if (abi < 1) return fmt::format("no landlock ({})", std::strerror(abi < 0 ? errno : ENOSYS));
    LandlockRuleset ruleset{};
    const size_t known = std::min<size_t>(static_cast<size_t>(abi), std::size(kFileRights) - 1);
    ruleset.handled_access_fs = (uint64_t{1} << kFileRights[known]) - 1;
    if (abi >= 6) ruleset.scoped = kScopes;
    const UniqueFd fd(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &ruleset, sizeof ruleset, 0U)));
    const std::string cores = fd ? wanted_core_directory() : std::string();
    const bool has_cores = !cores.empty() && let_write_below(fd.get(), cores);
    if (!fd || ::syscall(SYS_landlock_restrict_self, fd.get(), 0U) != 0)
        return fmt::format("no landlock ({})", std::strerror(errno));
    if (!has_cores) return fmt::format("landlock (ABI {})", abi);
    return fmt::format("landlock (ABI {}; core files may be made below \"{}\")", abi, cores);
}

// Without SPEC_ALLOW, kernels before 5.16 switch the processor's speculation off for a process with a filter.
std::string enter_seccomp() {
    auto code = make_call_filter();
    sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    long failed = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
    if (failed != 0) failed = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    if (failed != 0) return fmt::format("no seccomp ({})", std::strerror(errno));
    return fmt::format("seccomp ({} calls denied)", std::size(kDenied));
}

}  // namespace

std::string core_directory(std::string_view pattern) {
    if (pattern.empty() || pattern.front() == '|' || pattern.front() == '@') return {};
    const std::string_view fixed = pattern.substr(0, pattern.find('%'));
    const size_t slash = fixed.rfind('/');
    if (slash == std::string_view::npos) return ".";
    return std::string(slash == 0 ? "/" : fixed.substr(0, slash));
}

std::vector<sock_filter> make_call_filter() {
    Program program;
    program.load(offsetof(seccomp_data, arch));
    program.answer_unless_equal(AUDIT_ARCH_X86_64, kDeny);
    program.load(offsetof(seccomp_data, nr));
    program.answer_if_at_least(kX32Bit, kDeny);
    for (const uint32_t number : kDenied) program.answer_if_equal(number, kDeny);
    program.answer_if_equal(SYS_clone3, kPretendMissing);
    judge_call(program, SYS_unshare, unshare_verdict());
    judge_call(program, SYS_clone, clone_verdict());
    program.answer(SECCOMP_RET_ALLOW);
    return program.take();
}

std::string enter_sandbox() {
    const auto dropped = drop_capabilities();
    const std::string capabilities = dropped ? "no capabilities" : dropped.error().text();
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fmt::format("none (new privileges can't be given up: {}), {}", std::strerror(errno),
                           capabilities);
    const std::string landlock = enter_landlock();
    return fmt::format("{}, {}, {}", landlock, enter_seccomp(), capabilities);
}

}  // namespace tcpd::worker
