#pragma once

// Succession does not wait for a core dump: the handler of SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT gives
// the seat away first, then dies of the same signal with the default action. Worker and standby; own signal
// stack.
//   the loop's thread      stores WorkerControl::fault_signal, gives the seat away
//   another thread         stops the loop's thread by SIGRTMIN+2, whose handler does the same and never
//                          returns, for else two loops would run; waits for that 100 ms at most
//   standby, start-up      nothing to give: the seat compares its word with the loop's thread id
// The master's watchdog sends SIGABRT to the process: pool threads must block it, so that the loop's thread
// gets it. If the process dies in here: the robust futex and the second way stand behind it (worker/seat.h).
// Source: sigaction(2), sigaltstack(2), signal-safety(7), rt_tgsigqueueinfo(2).

#include <sys/types.h>

#include "daemon/base/error.h"
#include "daemon/slot/layout.h"
#include "worker/seat.h"

namespace tcpd::worker {

// Once for an image, while pristine. Both must live as long as the process.
Result<void> prepare_fault_handler(Seat& seat, slot::WorkerControl& control);
// The calling process's loop runs in this thread from now on; 0: in none, it is a standby.
void set_loop_thread(pid_t tid);

}  // namespace tcpd::worker
