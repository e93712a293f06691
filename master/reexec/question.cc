#include "master/reexec/question.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/signals.h"

namespace tcpd::master {

namespace {

constexpr double kLimitSeconds = 5;
constexpr size_t kMostOutput = 16 * 1024;
constexpr int kNotExecuted = 127;

[[noreturn]] void become(int program, int output, const std::vector<int>& kept, char* const* argv) {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    for (const int fd : kept) ::fcntl(fd, F_SETFD, 0);
    default_all_signals();
    unblock_all_signals();
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
    return fork_blocked([&] { become(program, output, kept, argv.data()); });
}

// Warnings come first, and are not why.
std::string first_complaint(const std::string& text) {
    for (size_t at = 0; at < text.size();) {
        const std::string line = text.substr(at, text.find('\n', at) - at);
        if (line.find(": warning: ") == std::string::npos) return line;
        at += line.size() + 1;
    }
    return text.substr(0, text.find('\n'));
}

}  // namespace

Question::Question(struct ev_loop* loop, std::string doing, OnAnswer on_answer)
    : doing_(std::move(doing)), on_answer_(std::move(on_answer)), readable_(loop, this), limit_(loop, this) {}

Question::~Question() {
    if (child_ == 0) return;
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
    }
}

Result<void> Question::ask(int program, std::vector<std::string> arguments, const std::vector<int>& kept) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return system_error(errno, doing_);
    output_.reset(ends[0]);
    const UniqueFd input(ends[1]);
    ::fcntl(output_.get(), F_SETFL, O_NONBLOCK);
    arguments.insert(arguments.begin(), "tcpd");
    const pid_t pid = start(program, input.get(), kept, arguments);
    if (pid < 0) return system_error(errno, doing_);
    child_ = pid;
    readable_.start(output_.get());
    limit_.start_once(kLimitSeconds);
    return {};
}

void Question::on_output() {
    char part[4096];
    ssize_t got = 0;
    while ((got = ::read(output_.get(), part, sizeof part)) > 0) {
        if (text_.size() < kMostOutput) text_.append(part, static_cast<size_t>(got));
    }
    if (got == 0) readable_.stop();
}

void Question::on_timeout() {
    is_late_ = true;
    ::kill(child_, SIGKILL);
}

void Question::on_end(const Death& death) {
    child_ = 0;
    limit_.stop();
    on_output();
    readable_.stop();
    const OnAnswer answer = std::move(on_answer_);
    if (is_late_) return answer(Error{ErrorCode::timed_out, doing_, "", 0, "it did not end within 5 s"});
    if (death.is_clean()) return answer(std::move(text_));
    std::string reason = death.text();
    if (!text_.empty()) reason = fmt::format("{}: {}", reason, first_complaint(text_));
    const bool is_bad_config = death.code == CLD_EXITED && death.status == kExitConfig;
    answer(Error{is_bad_config ? ErrorCode::bad_config : ErrorCode::refused, doing_, "", 0, "it " + reason});
}

}  // namespace tcpd::master
