#pragma once

// The text of `tcpd -s status`: fixed `key value` lines that people and programs read. Pure; master only.
// Lines may be added; those that are there stay as they are. Counters of listeners and slots that are 0 are left
// out, but for `lost` and `adopted crash`, which are the promise as a number.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "master/totals.h"

namespace tcpd::master {

struct ListenerStatus {
    std::string name;
    std::vector<std::string> addresses;
    ListenerTotals totals;
    bool is_draining = false;  // a reload removed or replaced it, its connections may end
};

struct SlotStatus {
    uint32_t number = 0;
    pid_t worker = 0, standby = 0;  // 0: none
    std::string state;
    uint32_t image = 0, attempt = 0;
    uint64_t uptime_ns = 0;  // of its table
    uint32_t seats = 0;      // holders so far
    std::vector<std::pair<std::string, uint64_t>> counters;
};

struct Status {
    std::string version, state, config_path;
    pid_t pid = 0;
    uint64_t uptime_ns = 0;
    uint64_t descriptor_limit = 0, connection_room = 0;  // of each slot
    uint64_t memory_total = 0, memory_used = 0;          // of buffers; 0: no limit
    uint64_t dropped_log_lines = 0;                      // the master's own, since its program began
    uint64_t control_refused = 0;                        // requests, likewise
    std::vector<ListenerStatus> listeners;
    std::vector<SlotStatus> slots;
};

std::string status_text(const Status& status);

}  // namespace tcpd::master
