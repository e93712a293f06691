#pragma once

// How an image comes to be: fork, a stated list of descriptors at stated numbers, exec of the program's own
// descriptor. Master only. The child between fork and exec makes only async-signal-safe calls, with every
// signal blocked; it executes with an empty mask, and with those signals ignored that images ignore, so that
// none can end it before it has set its own. If the child dies in here, its exec report ends early and its
// death is seen as any other's; if the master dies, the image finds end of file on its control socket.
// Source: signal-safety(7), execveat(2), close_range(2), proc(5) "oom_score_adj".

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/error.h"

namespace tcpd::master {

// What an image is given; all borrowed.
struct Inheritance {
    int control = -1, board = -1, buffers = -1, counts = -1, bundle = -1, log = -1, addresses = -1;
    std::vector<int> listeners;  // in the order of Birth::sockets
};

struct DescriptorMove {
    int from, to;
    bool operator==(const DescriptorMove&) const = default;
};

// The list that an image starts with, beside 0, 1 and 2. Pure.
std::vector<DescriptorMove> plan_descriptors(const Inheritance& inheritance);

// The image's pid. `title`: its argv[0]; argv[1] is --image.
Result<pid_t> execute_image(int program, const std::string& title, const Inheritance& inheritance);

// Who goes when memory runs out: a worker first. A standby keeps the master's score, which its worker had when it was
// cloned; with the right to it (CAP_SYS_RESOURCE) it is shielded, and a master that was started with 0 goes last.
void stand_back_from_oom();
// A worker that took its seat; `raise`: how far above the master. To raise a score takes no right.
void unshield(pid_t pid, int raise);

}  // namespace tcpd::master
