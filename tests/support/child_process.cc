#include "tests/support/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/process_view.h"

namespace tcpd::test {
namespace {

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
}

std::vector<std::string> environment_with(const std::vector<std::string>& added) {
    std::vector<std::string> all;
    for (char** entry = environ; *entry; ++entry) all.emplace_back(*entry);
    all.insert(all.end(), added.begin(), added.end());
    return all;
}

void set_limit(int resource, rlim_t value) {
    rlimit limit{};
    getrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
    limit.rlim_cur = value;
    if (resource == RLIMIT_NOFILE) limit.rlim_max = value;
    setrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
}

void redirect(const char* path, int over) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0) dup2(fd, over);
}

// To tcpd, TTIN, TTOU and WINCH mean nothing where it runs in a terminal, as a test may.
void leave_terminal() {
    const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0) return;
    ioctl(terminal, TIOCNOTTY);
    close(terminal);
}

[[noreturn]] void execute(const Start& start, char** argv, char** environment) {
    setpgid(0, 0);
    leave_terminal();
    prctl(PR_SET_PDEATHSIG, SIGKILL);       // a test that is killed leaves nothing behind
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);  // memory is measured; huge pages come and go as the kernel likes
    redirect(start.out_path.c_str(), STDOUT_FILENO);
    redirect(start.err_path.c_str(), STDERR_FILENO);
    if (start.pass_fd == kPassedFd) fcntl(kPassedFd, F_SETFD, 0);
    if (start.pass_fd >= 0) dup2(start.pass_fd, kPassedFd);
    if (start.open_files) set_limit(RLIMIT_NOFILE, start.open_files);
    set_limit(RLIMIT_CORE, start.core_bytes);
    if (geteuid() != 0) set_limit(RLIMIT_NPROC, 4000);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execvpe(argv[0], argv, environment);
    _exit(127);
}

int code_of(int wait_status) {
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace

ChildProcess::ChildProcess(const Start& start) {
    std::vector<std::string> argv_texts = start.argv, environment_texts = environment_with(start.environment);
    const std::vector<char*> argv = pointers_to(argv_texts), environment = pointers_to(environment_texts);
    pid_ = fork();
    if (pid_ < 0) throw Failed("fork failed");
    if (pid_ == 0) execute(start, const_cast<char**>(argv.data()), const_cast<char**>(environment.data()));
    setpgid(pid_, pid_);  // in both: whoever comes first
}

ChildProcess::~ChildProcess() { end_group(); }

void ChildProcess::send(int signal_number) const {
    if (kill(pid_, signal_number) != 0) throw Failed("could not signal " + std::to_string(pid_));
}

std::optional<int> ChildProcess::poll_exit() {
    int status = 0;
    if (!exit_ && waitpid(pid_, &status, WNOHANG) == pid_) exit_ = code_of(status);
    return exit_;
}

int ChildProcess::wait_exit(Milliseconds limit) {
    wait_for(
        "process " + std::to_string(pid_) + " to end", [&] { return poll_exit().has_value(); }, limit);
    return *exit_;
}

void ChildProcess::end_group() {
    kill(-pid_, SIGKILL);
    int status = 0;
    if (!exit_ && waitpid(pid_, &status, 0) == pid_) exit_ = code_of(status);
    // Orphans of the group are this process's children (it is their subreaper): none is left as a zombie.
    while (waitpid(-pid_, &status, 0) > 0) continue;
}

std::string tested_program() {
    const char* named = std::getenv("TCPD_BINARY");
    return named != nullptr ? named : TCPD_BINARY;
}

Output run(const std::vector<std::string>& argv, const std::vector<std::string>& environment) {
    const TempDir directory;
    Start start{.argv = argv, .environment = environment};
    start.out_path = directory / "out";
    start.err_path = directory / "err";
    ChildProcess child(start);
    Output output;
    output.exit = child.wait_exit();
    output.out = read_text(start.out_path);
    output.err = read_text(start.err_path);
    return output;
}

TempDir::TempDir() {
    char path[] = "/tmp/tcpd-test-XXXXXX";
    if (!mkdtemp(path)) throw Failed("mkdtemp failed");
    chmod(path, 0755);  // slots may run as another user
    path_ = path;
}

TempDir::~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::write(const std::string& name, const std::string& text) const {
    std::ofstream(*this / name) << text;
    return *this / name;
}

}  // namespace tcpd::test
