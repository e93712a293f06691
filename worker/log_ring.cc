#include "worker/log_ring.h"

#include <algorithm>

namespace tcpd::worker {

char* LogRing::reserve(size_t bytes) {
    const uint32_t used = ring_.used.load(std::memory_order_relaxed);
    return used + bytes <= slot::kLogRingBytes ? ring_.text + used : nullptr;
}

void LogRing::commit(size_t bytes) {
    const uint32_t used = ring_.used.load(std::memory_order_relaxed);
    ring_.used.store(used + static_cast<uint32_t>(bytes), std::memory_order_release);
}

// Forgotten before they are written: a death in between loses these lines rather than printing them twice.
void LogRing::flush() {
    const uint32_t used = std::min(ring_.used.load(std::memory_order_relaxed), slot::kLogRingBytes);
    if (used == 0) return;
    ring_.used.store(0, std::memory_order_release);
    log::write_lines({ring_.text, used});
}

}  // namespace tcpd::worker
