#include "worker/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "daemon/base/unique_fd.h"
#include "tests/unit/folder.h"
#include "tests/unit/worker/forked_child.h"
#include "tests/unit/worker/shared_page.h"
#include "worker/standby.h"

using namespace tcpd;
using namespace tcpd::test;
using namespace tcpd::worker;

namespace {

// What `attempt` returns inside the sandbox: 0 for what worked, else errno.
template <typename Attempt>
int in_sandbox(Attempt attempt, const SandboxNeeds& needs = {}) {
    ForkedChild child([&] {
        enter_sandbox(needs);
        errno = 0;
        return attempt();
    });
    return child.wait();
}

int error_of(long result) { return result < 0 ? errno : 0; }

int open_error(const char* path, int flags) {
    return in_sandbox([=] { return error_of(::open(path, flags, 0600)); });
}

bool has_landlock() { return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) > 0; }

boost::test_tools::assertion_result landlock_is_there(boost::unit_test::test_unit_id) {
    boost::test_tools::assertion_result holds(has_landlock());
    holds.message() << "this kernel has no Landlock";
    return holds;
}

boost::test_tools::assertion_result core_files_lie_beside_us(boost::unit_test::test_unit_id) {
    std::string pattern;
    std::getline(std::ifstream("/proc/sys/kernel/core_pattern"), pattern);
    rlimit limit{};
    ::getrlimit(RLIMIT_CORE, &limit);
    boost::test_tools::assertion_result holds(core_directory(pattern) == "." && limit.rlim_max >= 1 << 20);
    holds.message() << "no core file is written into the working folder here";
    return holds;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sandbox)

BOOST_AUTO_TEST_CASE(the_summary_names_what_holds) {
    SharedPage<std::array<char, 200>> summary;
    ForkedChild child([&] {
        const std::string text = enter_sandbox({});
        text.copy(summary->data(), summary->size() - 1);
        return 0;
    });
    BOOST_TEST(child.wait() == 0);
    const std::string text = summary->data();
    BOOST_TEST(text.find("seccomp (") != std::string::npos);
    BOOST_TEST(text.find(", no capabilities") != std::string::npos);
    BOOST_TEST((text.find("landlock (ABI ") == 0) == has_landlock());
}

BOOST_AUTO_TEST_CASE(no_file_opens_by_name, *boost::unit_test::precondition(landlock_is_there)) {
    BOOST_TEST(open_error("/etc/passwd", O_RDONLY) == EACCES);
    BOOST_TEST(open_error("/", O_RDONLY | O_DIRECTORY) == EACCES);
    BOOST_TEST(open_error("/dev/null", O_WRONLY) == EACCES);
    BOOST_TEST(open_error("tcpd-sandbox-test", O_WRONLY | O_CREAT) == EACCES);
}

BOOST_AUTO_TEST_CASE(core_files_go_where_the_pattern_says) {
    BOOST_TEST(core_directory("core") == ".");
    BOOST_TEST(core_directory("core.%p") == ".");
    BOOST_TEST(core_directory("/core") == "/");
    BOOST_TEST(core_directory("/var/cores/core") == "/var/cores");
    BOOST_TEST(core_directory("/var/%e/core/%p") == "/var");
    BOOST_TEST(core_directory("%e/core") == ".");
    BOOST_TEST(core_directory("|/usr/lib/systemd/systemd-coredump %P") == "");
    BOOST_TEST(core_directory("@/run/coredump.socket") == "");
    BOOST_TEST(core_directory("") == "");
}

BOOST_AUTO_TEST_CASE(a_core_is_dumped_where_one_is_wanted,
                     *boost::unit_test::precondition(core_files_lie_beside_us)) {
    rlimit limit{};
    ::getrlimit(RLIMIT_CORE, &limit);
    char directory[] = "/tmp/tcpd-core-XXXXXX";
    BOOST_REQUIRE(::mkdtemp(directory) != nullptr);
    ForkedChild child([&] {
        limit.rlim_cur = 1 << 20;
        if (::chdir(directory) != 0 || ::setrlimit(RLIMIT_CORE, &limit) != 0) return 1;
        enter_sandbox({});
        ::raise(SIGSEGV);
        return 2;
    });
    BOOST_TEST(child.wait() == 128 + SIGSEGV);
    BOOST_TEST(std::filesystem::remove_all(directory) == 2U);
}

// Files may be removed where cores may be made.
BOOST_AUTO_TEST_CASE(no_core_is_dumped_beside_the_pid_file,
                     *boost::unit_test::precondition(core_files_lie_beside_us)) {
    rlimit limit{};
    ::getrlimit(RLIMIT_CORE, &limit);
    const test::Folder folder;
    ForkedChild child([&] {
        limit.rlim_cur = 1 << 20;
        if (::chdir((folder / ".").c_str()) != 0 || ::setrlimit(RLIMIT_CORE, &limit) != 0) return 1;
        const std::string summary = enter_sandbox({.pid_file = folder / "tcpd.pid"});
        return summary.find("core files") == std::string::npos ? 0 : 2;
    });
    BOOST_TEST(child.wait() == 0);
}

BOOST_AUTO_TEST_CASE(no_program_is_executed) {
    BOOST_TEST(in_sandbox([] {
                   char* const none[] = {nullptr};
                   return error_of(::execve("/bin/true", none, none));
               }) == EPERM);
    BOOST_TEST(in_sandbox([] {
                   const long result = ::syscall(SYS_fork);
                   if (result == 0) ::_exit(0);
                   return error_of(result);
               }) == EPERM);
    BOOST_TEST(in_sandbox([] { return error_of(::fork()); }) == EPERM);
    BOOST_TEST(in_sandbox([] {
                   const long result = ::syscall(SYS_clone, SIGCHLD | CLONE_FILES, 0, 0, 0, 0);
                   if (result == 0) ::_exit(0);
                   return error_of(result);
               }) == EPERM);
}

BOOST_AUTO_TEST_CASE(clone3_seems_missing_so_that_glibc_takes_clone) {
    BOOST_TEST(in_sandbox([] { return error_of(::syscall(SYS_clone3, nullptr, 0)); }) == ENOSYS);
    BOOST_TEST(in_sandbox([] {
                   int result = 1;
                   std::thread([&] { result = 0; }).join();
                   return result;
               }) == 0);
}

BOOST_AUTO_TEST_CASE(a_standby_can_be_cloned) {
    SharedPage<slot::WorkerControl> control;
    BOOST_TEST(in_sandbox([&] {
                   prepare_clones();
                   const pid_t pid = clone_standby(*control);
                   if (pid == 0) ::_exit(42);
                   return error_of(pid);
               }) == 0);
    BOOST_TEST(wait_exit(static_cast<pid_t>(control->clone_tids[0])) == 42);
}

BOOST_AUTO_TEST_CASE(namespaces_and_tables_stay_as_they_are) {
    BOOST_TEST(in_sandbox([] { return error_of(::unshare(CLONE_FILES)); }) == EPERM);
    BOOST_TEST(in_sandbox([] { return error_of(::unshare(CLONE_NEWUSER)); }) == EPERM);
    BOOST_TEST(in_sandbox([] { return error_of(::unshare(CLONE_THREAD)); }) == 0);
    BOOST_TEST(
        in_sandbox([] { return error_of(::syscall(SYS_close_range, 900, 900, CLOSE_RANGE_UNSHARE)); }) == 0);
    BOOST_TEST(in_sandbox([] { return error_of(::syscall(SYS_setns, 0, 0)); }) == EPERM);
}

BOOST_AUTO_TEST_CASE(other_processes_are_out_of_reach) {
    BOOST_TEST(in_sandbox([] { return error_of(::ptrace(PTRACE_TRACEME, 0, 0, 0)); }) == EPERM);
    BOOST_TEST(in_sandbox([] {
                   char byte = 0;
                   iovec part{&byte, 1};
                   return error_of(::process_vm_readv(::getppid(), &part, 1, &part, 1, 0));
               }) == EPERM);
    if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) >= 6)
        BOOST_TEST(in_sandbox([] { return error_of(::kill(::getppid(), 0)); }) == EPERM);
}

BOOST_AUTO_TEST_CASE(nobody_else_is_signalled_whatever_the_call) {
    const pid_t master = ::getpid();
    siginfo_t info{};
    info.si_code = SI_QUEUE;
    const std::pair<const char*, std::function<long()>> attempts[] = {
        {"kill", [&] { return ::kill(master, 0); }},
        {"kill of all", [&] { return ::kill(-1, 0); }},
        {"kill of itself", [&] { return ::kill(::getpid(), 0); }},
        {"tkill", [&] { return ::syscall(SYS_tkill, master, 0); }},
        {"tgkill", [&] { return ::syscall(SYS_tgkill, master, master, 0); }},
        {"tgkill with a high half", [&] { return ::syscall(SYS_tgkill, master + (1L << 32), master, 0); }},
        {"tgkill below 0", [&] { return ::syscall(SYS_tgkill, -1, master, 0); }},
        {"rt_sigqueueinfo", [&] { return ::syscall(SYS_rt_sigqueueinfo, master, SIGTERM, &info); }},
        {"rt_tgsigqueueinfo",
         [&] { return ::syscall(SYS_rt_tgsigqueueinfo, master, master, SIGTERM, &info); }},
        {"pidfd_open", [&] { return ::syscall(SYS_pidfd_open, master, 0); }},
        {"pidfd_send_signal", [&] { return ::syscall(SYS_pidfd_send_signal, 0, 0, nullptr, 0); }},
        {"F_SETOWN", [&] { return ::fcntl(0, F_SETOWN, master); }},
        {"F_SETOWN of a group", [&] { return ::fcntl(0, F_SETOWN, -master); }},
        {"F_SETOWN_EX",
         [&] {
             const f_owner_ex owner{F_OWNER_PID, master};
             return ::fcntl(0, F_SETOWN_EX, &owner);
         }},
        {"F_SETSIG", [&] { return ::fcntl(0, F_SETSIG, SIGKILL); }},
        {"FIOSETOWN", [&] { return ::ioctl(0, FIOSETOWN, &master); }},
        {"SIOCSPGRP", [&] { return ::ioctl(0, SIOCSPGRP, &master); }},
        {"TIOCSTI", [&] { return ::ioctl(0, TIOCSTI, "x"); }},
        {"limits",
         [&] {
             const rlimit none{1, 1};
             return ::prlimit(master, RLIMIT_CPU, &none, nullptr);
         }},
        {"core scheduling", [&] { return ::prctl(PR_SCHED_CORE, 2, master, 0, 0); }},
        {"affinity", [&] { return ::syscall(SYS_sched_setaffinity, master, 0, nullptr); }},
        {"priority", [&] { return ::setpriority(PRIO_PROCESS, static_cast<id_t>(master), 19); }},
    };
    for (const auto& [name, attempt] : attempts) {
        BOOST_TEST_INFO(name);
        BOOST_TEST(in_sandbox([&] { return error_of(attempt()); }) == EPERM);
    }
}

// Of two kinds of limits, those of a file and of a process, its own stay.
BOOST_AUTO_TEST_CASE(what_a_worker_does_to_itself_goes_on) {
    BOOST_TEST(in_sandbox([] { return error_of(::fcntl(0, F_SETFL, ::fcntl(0, F_GETFL))); }) == 0);
    BOOST_TEST(in_sandbox([] {
                   rlimit limit{};
                   return error_of(::getrlimit(RLIMIT_NOFILE, &limit));
               }) == 0);
    BOOST_TEST(in_sandbox([] {
                   const pid_t loop = ::gettid();
                   int result = 1;
                   std::thread([&] { result = error_of(::syscall(SYS_tgkill, ::getpid(), loop, 0)); }).join();
                   return result;
               }) == 0);
    BOOST_TEST(in_sandbox([] { return ::raise(SIGKILL); }) == 128 + SIGKILL);
    BOOST_TEST(in_sandbox([]() -> int { ::abort(); }) == 128 + SIGABRT);
}

// As a standby does that has become the worker: the filter was set by the one before it.
BOOST_AUTO_TEST_CASE(a_clone_may_end_itself_and_not_its_master) {
    SharedPage<slot::WorkerControl> control;
    const pid_t master = ::getpid();
    BOOST_TEST(in_sandbox([&] {
                   prepare_clones();
                   const pid_t pid = clone_standby(*control);
                   if (pid != 0) return error_of(pid);
                   if (::syscall(SYS_tgkill, master, master, 0) == 0) ::_exit(1);
                   ::abort();
               }) == 0);
    BOOST_TEST(wait_exit(static_cast<pid_t>(control->clone_tids[0])) == 128 + SIGABRT);
}

BOOST_AUTO_TEST_CASE(no_unix_socket_is_made_unless_an_upstream_is_one) {
    const auto make = [](int family, int type) {
        return [=] { return error_of(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); };
    };
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
        BOOST_TEST(in_sandbox(make(AF_UNIX, type)) == EPERM);
        BOOST_TEST(in_sandbox(make(AF_UNIX, type), {.dials_unix = true}) ==
                   (type == SOCK_STREAM ? 0 : EPERM));
    }
    BOOST_TEST(in_sandbox(
                   [] {
                       int ends[2];
                       return error_of(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
                   },
                   {.dials_unix = true}) == EPERM);
    BOOST_TEST(in_sandbox(make(AF_NETLINK, SOCK_RAW)) == EPERM);
    BOOST_TEST(in_sandbox(make(AF_INET, SOCK_STREAM)) == 0);
    BOOST_TEST(in_sandbox(make(AF_INET6, SOCK_STREAM)) != EPERM);
}

// It would stay, and count in the control group, when the worker has ended.
BOOST_AUTO_TEST_CASE(nothing_is_made_that_outlives_its_maker) {
    BOOST_TEST(in_sandbox([] {
                   const int id = ::shmget(IPC_PRIVATE, 4096, 0600);
                   if (id >= 0) ::shmctl(id, IPC_RMID, nullptr);
                   return error_of(id);
               }) == EPERM);
    BOOST_TEST(in_sandbox([] { return error_of(::semget(0x7463, 1, 0)); }) == EPERM);
    BOOST_TEST(in_sandbox([] { return error_of(::msgget(0x7463, 0)); }) == EPERM);
}

// With Landlock or without: a mode is out of its reach.
BOOST_AUTO_TEST_CASE(files_are_left_as_they_are) {
    const test::Folder folder;
    const std::string file = folder / "file";
    std::ofstream(file) << "text";
    const char* path = file.c_str();
    BOOST_TEST(in_sandbox([&] { return error_of(::chmod(path, 0777)); }) == EACCES);
    BOOST_TEST(in_sandbox([&] { return error_of(::syscall(452, AT_FDCWD, path, 0777, 0)); }) == EACCES);
    BOOST_TEST(in_sandbox([&] { return error_of(::chown(path, ::getuid(), ::getgid())); }) == EACCES);
    BOOST_TEST(in_sandbox([&] { return error_of(::utimensat(AT_FDCWD, path, nullptr, 0)); }) == EACCES);
    BOOST_TEST(in_sandbox([&] { return error_of(::truncate(path, 0)); }) == EACCES);
    BOOST_TEST(in_sandbox([&] { return error_of(::unlink(path)); }) == EACCES);
    BOOST_TEST(in_sandbox([&] { return error_of(::rename(path, "/tmp/x")); }) == EACCES);
    BOOST_TEST(open_error(path, O_PATH) == EACCES);
}

BOOST_AUTO_TEST_CASE(calls_that_are_newer_than_the_filter_seem_missing) {
    for (const long number : {463L, 467L, 1000L})
        BOOST_TEST(in_sandbox([=] { return error_of(::syscall(number, 0, 0, 0, 0)); }) == ENOSYS);
}

// The numbers of 32-bit calls are others; a kernel that knows none ends the process.
BOOST_AUTO_TEST_CASE(calls_of_32_bits_do_not_go_round_it) {
    const int exit = in_sandbox([] {
        long result = 37;  // kill, there
        asm volatile("int $0x80" : "+a"(result) : "b"(static_cast<long>(::getppid())), "c"(0L) : "memory");
        return static_cast<int>(-result);
    });
    BOOST_TEST((exit == EPERM || exit == 128 + SIGSEGV));
}

// As the master makes it, which binds and listens before the sandbox.
UniqueFd listen_shared(sockaddr_in& address) {
    UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;
    ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    BOOST_REQUIRE(::bind(listener.get(), any, length) == 0);
    BOOST_REQUIRE(::listen(listener.get(), 1) == 0);
    BOOST_REQUIRE(::getsockname(listener.get(), any, &length) == 0);
    return listener;
}

BOOST_AUTO_TEST_CASE(sockets_work_as_before) {
    sockaddr_in address{};
    const UniqueFd listener = listen_shared(address);
    BOOST_TEST(in_sandbox([&] {
                   const int yes = 1, client = ::socket(AF_INET, SOCK_STREAM, 0);
                   if (::setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes) != 0) return errno;
                   if (::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
                       return errno;
                   return error_of(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
               }) == 0);
}

// A program that picks sockets stays with the group when who attached it has ended.
BOOST_AUTO_TEST_CASE(the_clients_of_other_slots_are_not_led_to_this_one) {
    sockaddr_in address{};
    const UniqueFd listener = listen_shared(address);
    sock_filter first[] = {{BPF_RET | BPF_K, 0, 0, 0}};
    const sock_fprog program{1, first};
    for (const int option : {SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER, SO_ATTACH_BPF,
                             SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF, SO_DETACH_REUSEPORT_BPF}) {
        BOOST_TEST_INFO("option " << option);
        BOOST_TEST(in_sandbox([&] {
                       return error_of(
                           ::setsockopt(listener.get(), SOL_SOCKET, option, &program, sizeof program));
                   }) == EPERM);
    }
    BOOST_TEST(in_sandbox([&] {
                   const int more = ::socket(AF_INET, SOCK_STREAM, 0);
                   return error_of(::bind(more, reinterpret_cast<sockaddr*>(&address), sizeof address));
               }) == EPERM);
    BOOST_TEST(in_sandbox([&] { return error_of(::listen(listener.get(), 1)); }) == EPERM);
}

BOOST_AUTO_TEST_CASE(no_capability_and_no_new_one) {
    BOOST_TEST(in_sandbox([] {
                   __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
                   __user_cap_data_struct sets[2] = {};
                   if (::syscall(SYS_capget, &header, sets) != 0) return errno;
                   return sets[0].effective | sets[0].permitted | sets[1].effective | sets[1].permitted ? 1
                                                                                                        : 0;
               }) == 0);
}

BOOST_AUTO_TEST_CASE(the_x32_numbers_of_denied_calls_are_denied) {
    BOOST_TEST(in_sandbox([] { return error_of(::syscall(0x40000000L + SYS_getpid)); }) == EPERM);
}

BOOST_AUTO_TEST_SUITE_END()
