#pragma once

// A worker that held its seat for less than 200 ms is waited for: the successor, which holds the seat and has
// its own standby by then, serves only after a while. Connections stay open meanwhile. Worker only. If the
// process dies in here: its successor finds one short life more and waits longer. Source: tcpd.yaml(5),
// supervisor.respawn.

#include <cstdint>

#include "daemon/base/clock.h"

namespace tcpd::worker {

struct BackOffLimits {
    Duration initial;
    Duration max;
};
struct BackOff {
    uint32_t short_lives = 0;  // in a row, the last one included
    Duration wait{0};
};
// Pure. `short_lives`: those before the predecessor's life of `lived_ns`.
BackOff back_off_after(uint64_t lived_ns, uint32_t short_lives, const BackOffLimits& limits);

enum class WaitEnd { time, control, term };
// Until `wait` has passed, or the control socket has a message or its end (left unread), or TERM comes. TERM
// is ignored again afterwards.
WaitEnd wait_out(Duration wait, int control_fd);

}  // namespace tcpd::worker
