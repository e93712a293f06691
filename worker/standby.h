#pragma once

// The clone of the worker that succeeds it: the same descriptor table, its own copy-on-write memory, a child
// of the master like the worker itself. Called by the holder of a seat, which has one thread then. If the
// worker dies in here: the kernel creates the child, notes its id in slot memory and starts it, or does none
// of this (a fatal signal is looked for before the child counts). Between the clone and the count that
// follows it, the id lies in the entry that the count names next: the child itself stores the count once it
// holds the seat. Source: clone(2), unshare(2), prctl(2) PR_GET_TID_ADDRESS.

#include <sched.h>
#include <sys/types.h>

#include <csignal>

#include "daemon/slot/layout.h"

namespace tcpd::worker {

// The only clone but a thread's that the sandbox lets through.
inline constexpr unsigned long kStandbyFlags =
    CLONE_FILES | CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD;

// Once for an image, while pristine: finds where glibc caches the thread's id, which a raw clone leaves
// stale.
void prepare_clones();
// As fork: the standby's pid; 0 in the standby; -1 and errno. EBUSY: another thread runs, whose locks the
// standby would inherit locked. Looked up by unshare(CLONE_THREAD), which does nothing else, since no /proc
// can be opened here.
// `committed`: the image is in service. An attempt's clone is noted apart until it is.
pid_t clone_standby(slot::WorkerControl& control, bool committed = true);
// By the first holder of an attempt's seat, once it has committed.
void note_attempt_clone(slot::WorkerControl& control);
// By a clone that holds the seat now and whose image is in service.
void count_own_clone(slot::WorkerControl& control);

}  // namespace tcpd::worker
