#include "tests/support/wait.h"

#include <poll.h>

#include <cstdlib>

namespace tcpd::test {

void wait_for(const std::string& what, const std::function<bool()>& holds, Milliseconds limit) {
    const auto give_up = SteadyClock::now() + limit;
    while (!holds()) {
        if (SteadyClock::now() > give_up) throw Failed("gave up waiting for " + what);
        poll(nullptr, 0, 2);
    }
}

bool is_sanitized() {
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    return std::getenv("TCPD_SANITIZED") != nullptr;
#endif
}

bool is_soak() { return std::getenv("TCPD_SOAK") != nullptr; }

unsigned times(unsigned brief, unsigned soak) { return is_soak() ? soak : brief; }

}  // namespace tcpd::test
