#pragma once

// Waiting for a condition, in tests: never for a time. Looks again every 2 ms; the limit only decides when to
// give up. Runs in the test's process; owns nothing.

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>

namespace tcpd::test {

using namespace std::chrono_literals;
using Milliseconds = std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

inline constexpr Milliseconds kPatience = 20s;

// A test cannot go on. Boost.Test shows the text.
struct Failed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Throws Failed("gave up waiting for WHAT") after `limit`.
void wait_for(const std::string& what, const std::function<bool()>& holds, Milliseconds limit = kPatience);

// The daemon is checked by AddressSanitizer, under which no core is dumped: it was built so together with the
// test, or whoever runs this test on another build says so (TCPD_SANITIZED=1).
bool is_sanitized();

// The long form of a suite, which scripts/soak asks for (TCPD_SOAK=1).
bool is_soak();
// `soak` times in the long form, else `brief`.
unsigned times(unsigned brief, unsigned soak);

}  // namespace tcpd::test
