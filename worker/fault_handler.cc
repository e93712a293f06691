#include "worker/fault_handler.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "daemon/base/signals.h"

namespace tcpd::worker {

namespace {

constexpr int kHandOverChecks = 500;
constexpr timespec kBetweenChecks{0, 200'000};  // 500 of them are the 100 ms

alignas(16) char fault_stack[64 * 1024];

// All that the handlers touch, set while nothing is wrong yet.
struct FaultState {
    Seat* seat;
    slot::WorkerControl* control;
    std::atomic<pid_t> loop_thread;
    std::atomic<int> stop_cause;  // signal of another thread that wants the loop stopped; 0: nobody does
};
FaultState state;

pid_t own_tid() { return static_cast<pid_t>(::syscall(SYS_gettid)); }
pid_t own_pid() { return static_cast<pid_t>(::syscall(SYS_getpid)); }
int stop_loop_signal() { return SIGRTMIN + 2; }

void hand_over(int signal_number, pid_t loop_thread) {
    state.control->fault_signal.store(static_cast<uint32_t>(signal_number));
    state.seat->give_away(loop_thread);
}

void stop_loop(int signal_number, pid_t loop_thread) {
    state.stop_cause.store(signal_number);
    if (::syscall(SYS_tgkill, own_pid(), loop_thread, stop_loop_signal()) != 0) return;
    for (int i = 0; i < kHandOverChecks && state.seat->holder() == loop_thread; ++i)
        ::nanosleep(&kBetweenChecks, nullptr);
}

// Queued with its siginfo, so that the core names the address; the kernel allows that to the main thread
// alone. Nothing here is marked as never returning: before such a call on a signal stack AddressSanitizer
// looks into /proc, and where the sandbox denies that it ends the process without the signal.
void die_of(int signal_number, siginfo_t* info) {
    struct sigaction default_action {};
    default_action.sa_handler = SIG_DFL;
    ::sigaction(signal_number, &default_action, nullptr);
    if (::syscall(SYS_rt_tgsigqueueinfo, own_pid(), own_tid(), signal_number, info) != 0)
        ::syscall(SYS_tgkill, own_pid(), own_tid(), signal_number);
    sigset_t only;
    ::sigemptyset(&only);
    ::sigaddset(&only, signal_number);
    ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
    ::syscall(SYS_exit_group, 128 + signal_number);
}

void on_fault(int signal_number, siginfo_t* info, void*) {
    const pid_t loop_thread = state.loop_thread.load();
    if (loop_thread != 0) {
        if (own_tid() == loop_thread)
            hand_over(signal_number, loop_thread);
        else
            stop_loop(signal_number, loop_thread);
    }
    die_of(signal_number, info);
}

// Sent by anybody else it means nothing: stop_cause is 0.
void on_stop_loop(int) {
    const int kept_errno = errno;
    const int cause = state.stop_cause.load();
    const pid_t loop_thread = state.loop_thread.load();
    if (cause != 0 && own_tid() == loop_thread) {
        hand_over(cause, loop_thread);
        for (;;) ::pause();
    }
    errno = kept_errno;
}

Result<void> handle(int signal_number, struct sigaction action) {
    ::sigfillset(&action.sa_mask);
    action.sa_flags |= SA_ONSTACK;
    if (::sigaction(signal_number, &action, nullptr) != 0)
        return system_error(errno, "handle signal", std::to_string(signal_number));
    return {};
}

}  // namespace

Result<void> prepare_fault_handler(Seat& seat, slot::WorkerControl& control) {
    state.seat = &seat;
    state.control = &control;
    stack_t stack{};
    stack.ss_sp = fault_stack;
    stack.ss_size = sizeof fault_stack;
    if (::sigaltstack(&stack, nullptr) != 0) return system_error(errno, "set the stack of the fault handler");
    struct sigaction on_fault_action {
    }, on_stop_action{};
    on_fault_action.sa_sigaction = on_fault;
    on_fault_action.sa_flags = SA_SIGINFO;
    on_stop_action.sa_handler = on_stop_loop;
    on_stop_action.sa_flags = SA_RESTART;
    for (const int signal_number : kFaultSignals) {
        auto handled = handle(signal_number, on_fault_action);
        if (!handled) return handled;
    }
    return handle(stop_loop_signal(), on_stop_action);
}

void set_loop_thread(pid_t tid) { state.loop_thread.store(tid); }

}  // namespace tcpd::worker
