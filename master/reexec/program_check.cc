#include "master/reexec/program_check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/clock.h"
#include "daemon/base/process.h"
#include "daemon/slot/layout.h"
#include "master/reexec/state.h"

namespace tcpd::master {

namespace {

constexpr uint64_t kLimitNs = 5'000'000'000;
constexpr size_t kMostOutput = 16 * 1024;
constexpr int kNotExecuted = 127;

[[noreturn]] void become(int program, int output, const std::vector<int>& kept, char* const* argv) {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    for (const int fd : kept) ::fcntl(fd, F_SETFD, 0);
    for (int number = 1; number <= SIGRTMAX; ++number) ::signal(number, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::fexecve(program, argv, environ);
    const int sys_errno = errno;
    const std::string text = fmt::format("{}", system_error(sys_errno, "execute it").text());
    [[maybe_unused]] const ssize_t written = ::write(output, text.data(), text.size());
    ::_exit(kNotExecuted);
}

pid_t start(int program, int output, const std::vector<int>& kept, std::vector<std::string>& words) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    sigset_t all, before;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t pid = ::fork();
    if (pid == 0) become(program, output, kept, argv.data());
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return pid;
}

// False: the time is over.
bool read_all(int fd, std::string& text, uint64_t until_ns) {
    for (;;) {
        const uint64_t now = monotonic_ns();
        if (now >= until_ns) return false;
        pollfd waiting{fd, POLLIN, 0};
        if (::poll(&waiting, 1, static_cast<int>((until_ns - now) / 1'000'000) + 1) <= 0) continue;
        char part[4096];
        const ssize_t got = ::read(fd, part, sizeof part);
        if (got == 0 || (got < 0 && errno != EINTR)) return true;
        if (got > 0 && text.size() < kMostOutput) text.append(part, static_cast<size_t>(got));
    }
}

siginfo_t wait_for_end(pid_t pid) {
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) != 0 && errno == EINTR) {
    }
    return info;
}

// Closing its output is not yet the end.
bool has_ended(pid_t pid, uint64_t until_ns) {
    siginfo_t info{};
    while (monotonic_ns() < until_ns) {
        info.si_pid = 0;
        if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
            info.si_pid != 0)
            return true;
        ::poll(nullptr, 0, 1);
    }
    return false;
}

std::string first_line(const std::string& text) {
    return text.substr(0, std::min(text.find('\n'), text.size()));
}

// Warnings come first, and are not why.
std::string first_complaint(const std::string& text) {
    for (size_t at = 0; at < text.size();) {
        const std::string line = first_line(text.substr(at));
        if (line.find(": warning: ") == std::string::npos) return line;
        at += line.size() + 1;
    }
    return first_line(text);
}

}  // namespace

std::string formats_line() {
    return fmt::format("formats: slot {}, birth {}, master {}", slot::kFormat, slot::kBirthFormat,
                       kStateFormat);
}

Result<std::string> ask_program(int program, const std::string& doing, std::vector<std::string> arguments,
                                const std::vector<int>& kept) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return system_error(errno, doing);
    const UniqueFd output(ends[0]);
    UniqueFd input(ends[1]);
    arguments.insert(arguments.begin(), "tcpd");
    const uint64_t until_ns = monotonic_ns() + kLimitNs;
    const pid_t pid = start(program, input.get(), kept, arguments);
    if (pid < 0) return system_error(errno, doing);
    input.reset();
    std::string text;
    const bool in_time = read_all(output.get(), text, until_ns) && has_ended(pid, until_ns);
    if (!in_time) ::kill(pid, SIGKILL);
    const siginfo_t end = wait_for_end(pid);
    if (!in_time) return Error{ErrorCode::timed_out, doing, "", 0, "it did not end within 5 s"};
    if (end.si_code == CLD_EXITED && end.si_status == 0) return text;
    std::string reason = describe_exit(end.si_code, end.si_status);
    if (!text.empty()) reason = fmt::format("{}: {}", reason, first_complaint(text));
    return Error{ErrorCode::refused, doing, "", 0, "it " + reason};
}

Result<UniqueFd> check_program(const std::string& path, const std::string& config_path) {
    UniqueFd program(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!program) return system_error(errno, "open the new program", path);
    auto version = ask_program(program.get(), fmt::format("ask {} for its version", path), {"-V"}, {});
    if (!version) return std::move(version.error());
    if (version->find(formats_line()) == std::string::npos) {
        const size_t at = version->find("formats: ");
        const std::string has = at == std::string::npos ? "it names none" : first_line(version->substr(at));
        return Error{
            ErrorCode::refused,
            "upgrade to",
            path,
            0,
            fmt::format("it does not read what this tcpd writes ({}; needed is {})", has, formats_line()),
            "upgrade by way of a version in between, or restart"};
    }
    auto tested = ask_program(program.get(), fmt::format("have {} check the configuration", path),
                              {"-t", "-c", config_path}, {});
    if (!tested) return std::move(tested.error());
    return program;
}

}  // namespace tcpd::master
