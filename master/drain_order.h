#pragma once

// Until when connections may go on, and how the rest is closed. Master only.

#include <cstdint>

namespace tcpd::master {

struct DrainOrder {
    uint64_t begin_ns = 0;  // monotonic; 0: no drain
    uint64_t end_ns = 0;    // 0: no limit
    bool spread = true;
    bool leaves_queues = false;  // that slots share, to those that do not drain
    bool operator==(const DrainOrder&) const = default;
};

}  // namespace tcpd::master
