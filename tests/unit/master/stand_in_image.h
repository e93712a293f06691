#pragma once

// What the unit tests' program is when a test has it executed as an image: it ends when its control socket
// does, so that a test can look at what it was given from outside.

#include <unistd.h>

#include <cerrno>

#include "daemon/slot/control_message.h"

namespace tcpd::test {

inline constexpr int kStandInExit = 7;

inline int stand_in_image() {
    char byte = 0;
    for (;;) {
        const ssize_t got = ::read(slot::kControlFd, &byte, 1);
        if (got == 0 || (got < 0 && errno != EINTR)) return kStandInExit;
    }
}

}  // namespace tcpd::test
