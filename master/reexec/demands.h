#pragma once

// What the slots that there are ask of a program that is to take them over. Pure; master only.

#include <cstdint>
#include <string>

namespace tcpd::master {

struct Demands {
    uint32_t level = 0;
    std::string thing;                                         // that needs the level
    uint64_t records = 0, board_bytes = 0, buffers_bytes = 0;  // of the least slot; 0: there is none
};

}  // namespace tcpd::master
