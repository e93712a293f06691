#pragma once

// What signals do to worker and standby: a terminal's keys and a service manager's `kill` reach every
// process, but only the master acts on them. Faults: worker/fault_handler.h; a dead predecessor:
// worker/seat.h.
//   HUP INT QUIT USR1 USR2 WINCH TTIN TTOU TSTP PIPE   ignored
//   XFSZ                                               ignored: a log file at its limit is a failed write
//   TERM                                               ignored by a standby; a worker leaves its seat
// Owns no state; nothing here can be left half done.
// Source: signal(7), tcpd(8).

#include "daemon/base/error.h"

namespace tcpd::worker {

// Once for an image, while pristine: ignores all of these, TERM too, and unblocks every signal.
Result<void> set_dispositions();

}  // namespace tcpd::worker
