#include "daemon/base/fault_point.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "daemon/base/unique_fd.h"

namespace tcpd::fault {

namespace {

#define TCPD_FAULT_ROW(name, text) text,
constexpr const char* kNames[] = {
#include "daemon/base/fault_points.def"
};
#undef TCPD_FAULT_ROW

constexpr auto kPoints = static_cast<uint32_t>(Point::count);
static_assert(kPoints <= std::size(Area{}.passed));

Area* area = nullptr;

std::atomic_ref<uint32_t> shared(uint32_t& word) { return std::atomic_ref<uint32_t>(word); }

// By the kernel's own numbers: libc's are those of the parent after a raw clone.
void signal_self(int signal_number) {
    syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), signal_number);
}

// The compiler must not see that it is no address, or it traps instead.
__attribute__((no_sanitize("address", "undefined"))) void write_nowhere() {
    volatile uintptr_t nowhere = 0;
    *reinterpret_cast<volatile char*>(nowhere) = 1;
}

void* crash_thread(void*) {
    write_nowhere();
    return nullptr;
}

void start_crashing_thread() {
    pthread_t thread{};
    if (pthread_create(&thread, nullptr, crash_thread, nullptr) != 0) abort();
    pthread_detach(thread);
}

void corrupt_robust_list() {
    robust_list_head* head = nullptr;
    size_t bytes = 0;
    constexpr uintptr_t kWild = 0x5A5A5A58;
    syscall(SYS_get_robust_list, 0, &head, &bytes);
    if (head) head->list.next = reinterpret_cast<robust_list*>(kWild);
    signal_self(SIGKILL);
}

void act(Action action) {
    switch (action) {
        case Action::none: return;
        case Action::kill: return signal_self(SIGKILL);
        case Action::segfault: return write_nowhere();
        case Action::abort: abort();
        case Action::exit: _exit(1);
        case Action::stop: return signal_self(SIGSTOP);
        case Action::spin:
            for (;;) asm volatile("");
        case Action::segfault_in_thread: return start_crashing_thread();
        case Action::corrupt_robust_list: return corrupt_robust_list();
    }
}

// True for the one pass, among those of all processes, that ends the countdown; it starts the next or
// disarms.
bool is_due() {
    uint32_t left = shared(area->countdown).load();
    do {
        if (left == 0) return false;
    } while (!shared(area->countdown).compare_exchange_weak(left, left - 1));
    if (left > 1) return false;
    uint32_t every = shared(area->every).load();
    uint32_t then = every == 0 ? shared(area->then).exchange(0) : 0;
    shared(area->countdown).store(then != 0 ? 1 : every);
    if (every == 0) shared(area->armed).store(then);
    return true;
}

}  // namespace

const char* name_of(Point point) {
    auto index = static_cast<uint32_t>(point);
    return index < kPoints ? kNames[index] : "none";
}

Result<void> map_area() {
    const char* path = getenv("TCPD_FAULT_FILE");
    if (!path || area) return {};
    UniqueFd fd(open(path, O_RDWR | O_CLOEXEC));
    if (!fd) return system_error(errno, "open the fault points' file", path);
    struct stat status {};
    if (fstat(fd.get(), &status) != 0 || status.st_size < static_cast<off_t>(sizeof(Area))) {
        return Error{ErrorCode::bad_format, "use the fault points' file", path, 0, "it is too small"};
    }
    void* mapped = mmap(nullptr, sizeof(Area), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (mapped == MAP_FAILED) return system_error(errno, "map the fault points' file", path);
    area = static_cast<Area*>(mapped);
    return {};
}

void pass(Point point) {
    if (!area) return;
    auto index = static_cast<uint32_t>(point);
    shared(area->passed[index]).fetch_add(1);
    if (shared(area->armed).load() != index + 1 || !is_due()) return;
    auto action = static_cast<Action>(shared(area->action).load());
    shared(area->acted[index]).fetch_add(1);
    act(action);
}

}  // namespace tcpd::fault
