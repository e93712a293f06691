#include "worker/call_filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdint>
#include <iterator>

#include "worker/standby.h"

namespace tcpd::worker {

namespace {

// Newer than the headers that this may be built with.
constexpr uint32_t kFchmodat2 = 452, kStatmount = 457, kListmount = 458;
constexpr uint32_t kFirstUnknown = 463;

constexpr uint32_t kDenied[] = {
    // programs and processes
    SYS_execve, SYS_execveat, SYS_fork, SYS_vfork, SYS_uselib, SYS_personality, SYS_setns, SYS_acct,
    // signals to other processes
    SYS_kill, SYS_tkill, SYS_rt_sigqueueinfo, SYS_pidfd_open, SYS_pidfd_send_signal,
    // other processes' memory, descriptors and share of the machine
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_process_mrelease,
    SYS_kcmp, SYS_pidfd_getfd, SYS_move_pages, SYS_migrate_pages, SYS_setpriority, SYS_ioprio_set,
    SYS_get_robust_list, SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_setaffinity, SYS_sched_setattr,
    // large surfaces of the kernel
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_fanotify_init, SYS_lookup_dcookie,
    SYS_syslog,
    // new ways for clients to come
    SYS_socketpair, SYS_bind, SYS_listen,
    // what outlives its maker, and counts in the control group on
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semctl, SYS_semop, SYS_semtimedop, SYS_msgget,
    SYS_msgsnd, SYS_msgrcv, SYS_msgctl,
    // the file tree
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen,
    SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, kStatmount, kListmount, SYS_quotactl,
    SYS_quotactl_fd, SYS_name_to_handle_at, SYS_open_by_handle_at,
    // the machine
    SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot,
    SYS_swapon, SYS_swapoff, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,
    SYS_sethostname, SYS_setdomainname, SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_vhangup};

// Landlock keeps files that are named from a worker, too, where the kernel has it; but never their modes, owners,
// times and attributes.
constexpr uint32_t kFiles[] = {SYS_open,         SYS_openat,
                               SYS_openat2,      SYS_creat,
                               SYS_truncate,     SYS_link,
                               SYS_linkat,       SYS_symlink,
                               SYS_symlinkat,    SYS_unlink,
                               SYS_unlinkat,     SYS_rename,
                               SYS_renameat,     SYS_renameat2,
                               SYS_mkdir,        SYS_mkdirat,
                               SYS_rmdir,        SYS_mknod,
                               SYS_mknodat,      SYS_chmod,
                               SYS_fchmod,       SYS_fchmodat,
                               kFchmodat2,       SYS_chown,
                               SYS_fchown,       SYS_lchown,
                               SYS_fchownat,     SYS_utime,
                               SYS_utimes,       SYS_futimesat,
                               SYS_utimensat,    SYS_setxattr,
                               SYS_lsetxattr,    SYS_fsetxattr,
                               SYS_removexattr,  SYS_lremovexattr,
                               SYS_fremovexattr, SYS_inotify_add_watch,
                               SYS_mq_open};

// What a loop makes again and again is found first.
constexpr uint32_t kFrequent[] = {SYS_epoll_wait, SYS_recvfrom, SYS_sendto, SYS_sendmsg, SYS_accept4,
                                  SYS_poll,       SYS_writev,   SYS_read,   SYS_write};

constexpr uint32_t kDeny = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kDenyFile = SECCOMP_RET_ERRNO | EACCES;
constexpr uint32_t kPretendMissing = SECCOMP_RET_ERRNO | ENOSYS;
constexpr uint32_t kX32Bit = 0x40000000;
constexpr uint32_t kNegative = 0x80000000;
constexpr uint32_t kSocketTypeMask = 0xf;
constexpr uint32_t kThreadFlags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
constexpr uint32_t kNamespaceFlags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

// The low half of an argument, little endian; the kernel reads no more of an int.
constexpr uint32_t argument(uint32_t n) {
    return static_cast<uint32_t>(offsetof(seccomp_data, args) + 8 * n);
}
constexpr uint32_t kFirstArgument = argument(0);

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

// A standby's clone has the same parent, so it is the master as long as that lives.
Program signal_verdict(pid_t master) {
    Program verdict;
    verdict.load(argument(0));
    verdict.answer_if_equal(static_cast<uint32_t>(master), kDeny);
    verdict.answer_if_at_least(kNegative, kDeny);
    verdict.answer(SECCOMP_RET_ALLOW);
    return verdict;
}

// Of commands that have somebody else signalled, or that type into a terminal.
Program command_verdict(std::initializer_list<uint32_t> denied) {
    Program verdict;
    verdict.load(argument(1));
    for (const uint32_t command : denied) verdict.answer_if_equal(command, kDeny);
    verdict.answer(SECCOMP_RET_ALLOW);
    return verdict;
}

// A program that is attached to one listening socket picks for all of its address, those of other slots, too; it stays
// when who attached it has ended, and a lock keeps the master from putting it right.
Program option_verdict() {
    Program verdict;
    verdict.load(argument(1));
    verdict.answer_unless_equal(SOL_SOCKET, SECCOMP_RET_ALLOW);
    verdict.load(argument(2));
    for (const uint32_t option :
         {SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF,
          SO_ATTACH_REUSEPORT_EBPF, SO_DETACH_REUSEPORT_BPF})
        verdict.answer_if_equal(option, kDeny);
    verdict.answer(SECCOMP_RET_ALLOW);
    return verdict;
}

// Which processes share a core with the one that is named.
Program process_option_verdict() {
    Program verdict;
    verdict.load(argument(0));
    verdict.answer_if_equal(PR_SCHED_CORE, kDeny);
    verdict.answer(SECCOMP_RET_ALLOW);
    return verdict;
}

// A limit of another process may kill it (RLIMIT_CPU).
Program own_process_verdict() {
    Program verdict;
    verdict.load(argument(0));
    verdict.answer_if_equal(0, SECCOMP_RET_ALLOW);
    verdict.answer(kDeny);
    return verdict;
}

Program socket_verdict(bool dials_unix) {
    Program verdict;
    verdict.load(argument(0));
    verdict.answer_if_equal(AF_INET, SECCOMP_RET_ALLOW);
    verdict.answer_if_equal(AF_INET6, SECCOMP_RET_ALLOW);
    verdict.answer_unless_equal(AF_UNIX, kDeny);
    if (dials_unix) {
        verdict.load(argument(1));
        verdict.mask(kSocketTypeMask);
        verdict.answer_if_equal(SOCK_STREAM, SECCOMP_RET_ALLOW);
    }
    verdict.answer(kDeny);
    return verdict;
}

}  // namespace

size_t denied_calls() { return std::size(kDenied) + std::size(kFiles); }

std::vector<sock_filter> make_call_filter(const CallNeeds& needs) {
    Program program;
    program.load(offsetof(seccomp_data, arch));
    program.answer_unless_equal(AUDIT_ARCH_X86_64, kDeny);
    program.load(offsetof(seccomp_data, nr));
    program.answer_if_at_least(kX32Bit, kDeny);
    for (const uint32_t number : kFrequent) program.answer_if_equal(number, SECCOMP_RET_ALLOW);
    program.answer_if_at_least(kFirstUnknown, kPretendMissing);
    for (const uint32_t number : kDenied) program.answer_if_equal(number, kDeny);
    for (const uint32_t number : kFiles) program.answer_if_equal(number, kDenyFile);
    program.answer_if_equal(SYS_clone3, kPretendMissing);
    judge_call(program, SYS_unshare, unshare_verdict());
    judge_call(program, SYS_clone, clone_verdict());
    judge_call(program, SYS_tgkill, signal_verdict(needs.master));
    judge_call(program, SYS_rt_tgsigqueueinfo, signal_verdict(needs.master));
    judge_call(program, SYS_fcntl, command_verdict({F_SETOWN, F_SETOWN_EX, F_SETSIG}));
    judge_call(program, SYS_ioctl, command_verdict({FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX}));
    judge_call(program, SYS_prctl, process_option_verdict());
    judge_call(program, SYS_prlimit64, own_process_verdict());
    judge_call(program, SYS_setsockopt, option_verdict());
    judge_call(program, SYS_socket, socket_verdict(needs.dials_unix));
    program.answer(SECCOMP_RET_ALLOW);
    return program.take();
}

}  // namespace tcpd::worker
