#include "master/crew/birth.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "daemon/base/signals.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/control_message.h"

namespace tcpd::master {

namespace {

constexpr int kExecPatienceMs = 5'000;
constexpr int kMostOomScore = 1000;
// Taken when there is nobody else. No administrator's, so that it tells that there was none before.
constexpr int kMasterOomScore = -999;

enum class Stage : int { move_descriptors, execute };

struct Failure {
    Stage stage;
    int sys_errno;
};

// All that the child needs, made before the fork: it allocates nothing.
struct Plan {
    std::vector<DescriptorMove> moves;
    std::vector<int> lifted;  // room for the copies above all targets
    int floor;                // the first descriptor above all targets
    int program, report;
    char* const* argv;
};

const char* describe(Stage stage) {
    return stage == Stage::execute ? "execute an image" : "lay out an image's descriptors";
}

[[noreturn]] void give_up(const Plan& plan, Stage stage) {
    const Failure failure{stage, errno};
    [[maybe_unused]] const ssize_t told = ::write(plan.report, &failure, sizeof failure);
    ::_exit(127);
}

// First every source goes above all targets, so that no move can overwrite one that is still to be moved.
void lay_out_descriptors(Plan& plan) {
    for (size_t i = 0; i < plan.moves.size(); ++i) {
        plan.lifted[i] = ::fcntl(plan.moves[i].from, F_DUPFD_CLOEXEC, plan.floor);
        if (plan.lifted[i] < 0) give_up(plan, Stage::move_descriptors);
    }
    plan.program = ::fcntl(plan.program, F_DUPFD_CLOEXEC, plan.floor);
    if (plan.program < 0) give_up(plan, Stage::move_descriptors);
    const int report = ::fcntl(plan.report, F_DUPFD_CLOEXEC, plan.floor);
    if (report < 0) give_up(plan, Stage::move_descriptors);
    plan.report = report;
    // What comes to its place is kept over the exec, all else closed.
    ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    for (size_t i = 0; i < plan.moves.size(); ++i) {
        if (::dup2(plan.lifted[i], plan.moves[i].to) < 0) give_up(plan, Stage::move_descriptors);
    }
}

// What is ignored stays so over the exec.
void set_image_signals() {
    default_all_signals();
    for (const int number : kImageIgnores) ::signal(number, SIG_IGN);
    unblock_all_signals();
}

// Without the right to it the image is as likely to be killed as anybody.
void shield_self() {
    const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    [[maybe_unused]] const ssize_t written = ::write(file, "-1000", 5);
    ::close(file);
}

std::optional<int> oom_score(const std::string& process) {
    char text[16] = {};
    const UniqueFd file(::open(fmt::format("/proc/{}/oom_score_adj", process).c_str(), O_RDONLY | O_CLOEXEC));
    if (::read(file.get(), text, sizeof text - 1) <= 0) return std::nullopt;
    return std::atoi(text);
}

void write_oom_score(const std::string& process, int score) {
    const std::string text = std::to_string(score);
    const UniqueFd file(::open(fmt::format("/proc/{}/oom_score_adj", process).c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) return;
    [[maybe_unused]] const ssize_t written = ::write(file.get(), text.data(), text.size());
}

[[noreturn]] void become_image(Plan& plan) {
    shield_self();
    lay_out_descriptors(plan);
    set_image_signals();
    ::fexecve(plan.program, plan.argv, environ);
    give_up(plan, Stage::execute);
}

void end_child(pid_t pid) {
    ::kill(pid, SIGKILL);
    siginfo_t info;
    while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) != 0 && errno == EINTR) {
    }
}

// End of file: the exec closed it.
Result<void> await_exec(int report, pid_t pid) {
    pollfd waiting{report, POLLIN, 0};
    int ready = 0;
    do ready = ::poll(&waiting, 1, kExecPatienceMs);
    while (ready < 0 && errno == EINTR);
    Failure failure{};
    const ssize_t got = ready == 1 ? ::read(report, &failure, sizeof failure) : -1;
    if (got == 0) return {};
    end_child(pid);
    if (got == static_cast<ssize_t>(sizeof failure)) {
        return system_error(failure.sys_errno, describe(failure.stage));
    }
    return Error{ErrorCode::timed_out, describe(Stage::execute), "", 0, "it did not come about within 5 s"};
}

}  // namespace

std::vector<DescriptorMove> plan_descriptors(const Inheritance& given) {
    std::vector<DescriptorMove> moves = {
        {given.control, slot::kControlFd}, {given.board, slot::kBoardFd},
        {given.counts, slot::kCountsFd},   {given.bundle, slot::kBundleFd},
        {given.log, slot::kLogFd},         {given.addresses, slot::kAddressesFd},
        {given.buffers, slot::kBuffersFd}};
    int next = slot::kFirstListenFd;
    for (int listener : given.listeners) moves.push_back({listener, next++});
    return moves;
}

Result<pid_t> execute_image(int program, const std::string& title, const Inheritance& inheritance) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return system_error(errno, "make a pipe for an image's start");
    UniqueFd report(ends[0]), child_report(ends[1]);
    std::string name = title, flag = slot::kImageFlag;
    char* argv[] = {name.data(), flag.data(), nullptr};
    Plan plan{.moves = plan_descriptors(inheritance),
              .lifted = {},
              .floor = 0,
              .program = program,
              .report = child_report.get(),
              .argv = argv};
    plan.lifted.resize(plan.moves.size());
    plan.floor = std::max(plan.moves.back().to + 1, slot::kFirstListenFd);
    const pid_t pid = fork_blocked([&plan] { become_image(plan); });
    if (pid < 0) return system_error(errno, "fork an image");
    child_report.reset();
    if (auto executed = await_exec(report.get(), pid); !executed) return std::move(executed.error());
    return pid;
}

void stand_back_from_oom() {
    if (oom_score("self") == 0) write_oom_score("self", kMasterOomScore);
}

void unshield(pid_t pid, int raise) {
    const std::optional<int> own = oom_score("self");
    if (!own) return;
    const int before = *own == kMasterOomScore ? 0 : *own;
    write_oom_score(std::to_string(pid), std::min(before + raise, kMostOomScore));
}

}  // namespace tcpd::master
