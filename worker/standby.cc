#include "worker/standby.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#if !defined(__x86_64__)
#error "the order of clone's arguments and the sandbox's table of calls are those of x86-64"
#endif

namespace tcpd::worker {

namespace {

pid_t unused_tid;                 // where the kernel can't say, since CONFIG_CHECKPOINT_RESTORE is off
pid_t* cached_tid = &unused_tid;  // kept here: the kernel forgets it in a clone
uint32_t clones_before_own_birth;
bool is_clone = false;

bool has_other_threads() { return ::unshare(CLONE_THREAD) != 0 && errno == EINVAL; }

}  // namespace

void prepare_clones() {
    pid_t* address = nullptr;
    if (::prctl(PR_GET_TID_ADDRESS, &address) == 0 && address != nullptr) cached_tid = address;
}

pid_t clone_standby(slot::WorkerControl& control, bool committed) {
    if (has_other_threads()) {
        errno = EBUSY;
        return -1;
    }
    const uint32_t clones = control.clones.load();
    clones_before_own_birth = clones;
    uint32_t* noted_at =
        committed ? &control.clone_tids[clones % slot::kRecentClones] : &control.attempt_clone_tid;
    const long pid = ::syscall(SYS_clone, kStandbyFlags, nullptr, noted_at, cached_tid, 0UL);
    if (pid == 0) is_clone = true;
    if (pid > 0 && committed) control.clones.store(clones + 1);
    return static_cast<pid_t>(pid);
}

void note_attempt_clone(slot::WorkerControl& control) {
    control.clone_tids[clones_before_own_birth % slot::kRecentClones] = control.attempt_clone_tid;
    control.clones.store(clones_before_own_birth + 1);
}

void count_own_clone(slot::WorkerControl& control) {
    if (is_clone) control.clones.store(clones_before_own_birth + 1);
}

}  // namespace tcpd::worker
