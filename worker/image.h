#pragma once

// One execution of the binary for one slot: what it holds from its start-up on, before it has seen a client's
// byte. Worker and standby: both are clones of one image and have all this at the same addresses, each its
// own copy. Descriptors opened here are never closed, only replaced at the same number (dup3): a standby's
// memory names them. If the process dies in its start-up, the slot has no worker: the master sees the exit
// code and makes another image. Life after it: worker/life.h; service: worker/service.h.

#include <sys/types.h>

#include <cstdint>
#include <map>

#include "conf/config.h"
#include "daemon/base/clock.h"
#include "daemon/slot/address_counts.h"
#include "daemon/slot/control_message.h"
#include "daemon/slot/shared_counts.h"
#include "daemon/slot/slot_memory.h"
#include "worker/seat.h"

struct ev_loop;

namespace tcpd::worker {

// The process that holds the seat, and how it came to it; set when the seat is taken.
struct Holder {
    bool is_first = true;        // of this image: nobody served with it before
    pid_t pid = 0;               // also the loop's thread id
    pid_t standby_pid = 0;       // 0: the clone failed
    pid_t predecessor_pid = 0;   // who cloned this process; 0: nobody
    int predecessor_fault = 0;   // the signal that it gave its seat away in; 0: none
    int clone_errno = 0;         // why there is no standby
    Duration wait{0};            // before it serves: its predecessor's life was short
    uint64_t seat_taken_ns = 0;  // monotonic
};

// Of a renewal, monotonic.
struct HandOverTimes {
    uint64_t parked_ns = 0;    // the worker before has served nobody since
    uint64_t received_ns = 0;  // the whole table is here
    uint64_t committed_ns = 0;
    uint32_t descriptors_needed = 0;  // for the table and all else; told where that is too much
};

struct Image {
    slot::Birth birth;
    slot::SlotMemory memory;
    slot::SharedCounts counts;
    slot::AddressCounts addresses;
    HandOverTimes hand_over;
    conf::Config config;
    std::map<int, conf::Config> former_configs;  // by bundle descriptor: of listeners that a reload removed
    struct ev_loop* loop;  // whoever serves calls ev_loop_fork first: its wake-up descriptor is opened anew
    Seat seat;
    int poller_fd = -1;            // our own epoll set (worker/net/poller.h)
    int first_connection_fd = -1;  // every descriptor below is pristine; from it on they belong to records
    Holder holder{};
};

// Listening sockets may lie among the connections' numbers: a hand-over moves those that stand in the way.
bool is_own_socket(const Image& image, int fd);

// What main calls for `--image`. A start-up that fails exits with kExitSystem or kExitConfig after one line
// in the log.
[[noreturn]] void run_image();

}  // namespace tcpd::worker
