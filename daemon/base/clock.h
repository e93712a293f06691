#pragma once

// Time: monotonic for everything that is measured or waited for, wall clock for what people read.
// Runs in every process. Deadlines in slot memory are monotonic nanoseconds, valid for as long as the machine
// is up. Source: clock_gettime(2).

#include <chrono>
#include <cstdint>

namespace tcpd {

using Duration = std::chrono::milliseconds;  // of the configuration; 0 means "no limit" where the key says so

// CLOCK_MONOTONIC in nanoseconds.
uint64_t monotonic_ns();
// CLOCK_REALTIME in nanoseconds since 1970.
uint64_t wall_ns();

inline constexpr uint64_t to_ns(Duration d) { return static_cast<uint64_t>(d.count()) * 1'000'000; }

}  // namespace tcpd
