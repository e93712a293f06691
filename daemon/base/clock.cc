#include "daemon/base/clock.h"

#include <ctime>

namespace tcpd {

namespace {

uint64_t read_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t monotonic_ns() { return read_ns(CLOCK_MONOTONIC); }

uint64_t wall_ns() { return read_ns(CLOCK_REALTIME); }

}  // namespace tcpd
