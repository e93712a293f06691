#pragma once

// The file through which a test arms fault points in the processes of a daemon built with them, and counts
// how often they acted. Give `environment()` to the daemon, arm at any time. Runs in the test's process; owns
// mapping and file. Source: daemon/base/fault_point.h.

#include <string>

#include "daemon/base/fault_point.h"
#include "tests/support/child_process.h"

namespace tcpd::test {

class FaultArea {
public:
    FaultArea();
    FaultArea(const FaultArea&) = delete;
    ~FaultArea();

    std::string environment() const { return "TCPD_FAULT_FILE=" + path_; }
    // Acts on the `countdown`-th pass from now, then on every `every`-th; 0: once.
    void arm(fault::Point point, fault::Action action, uint32_t countdown = 1, uint32_t every = 0);
    // From the next act on.
    void change_every(uint32_t every);
    // Acts at `first` on the countdown-th pass, and at `second` on its next pass after that.
    void arm_two(fault::Point first, fault::Point second, fault::Action action, uint32_t countdown = 1);
    void disarm();
    uint32_t passed(fault::Point point) const;
    uint32_t acted(fault::Point point) const;

private:
    TempDir directory_;
    std::string path_;
    fault::Area* area_;
};

}  // namespace tcpd::test
