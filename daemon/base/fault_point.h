#pragma once

// Places where a test build may kill, crash or delay the process, named by place and moment. In other builds
// the macro is nothing. What is armed lies in a file that a test and every process map (TCPD_FAULT_FILE), so
// that counts outlive the process. The one list of points is fault_points.def; a name that is not in it does
// not compile.
//     FAULT_POINT(recv_done_not_published);

#include <cstdint>

#include "daemon/base/error.h"

namespace tcpd::fault {

#define TCPD_FAULT_ROW(name, text) name,
enum class Point : uint32_t {
#include "daemon/base/fault_points.def"
    count
};
#undef TCPD_FAULT_ROW

enum class Action : uint32_t {
    none,
    kill,
    segfault,
    abort,
    exit,
    stop,
    spin,
    segfault_in_thread,
    corrupt_robust_list
};

// What test and processes share; zeroes: nothing is armed.
struct Area {
    uint32_t armed;   // Point + 1; 0: none. Written last by the test
    uint32_t action;  // Action
    // Acts on the countdown-th pass, then every `every` passes; decremented by the process.
    uint32_t countdown;
    uint32_t every;       // 0: once, then disarmed
    uint32_t then;        // Point + 1 that is armed for its next pass as a first one acts once; 0: none
    uint32_t passed[64];  // by point: how often it was passed at all
    uint32_t acted[64];   // by point
};

const char* name_of(Point point);  // "recv.done_not_published"

// Maps the file that the environment names, if this is a test build. Called while the process is pristine.
Result<void> map_area();
void pass(Point point);

}  // namespace tcpd::fault

#ifdef TCPD_FAULTS
#define FAULT_POINT(name) ::tcpd::fault::pass(::tcpd::fault::Point::name)
#define FAULT_MAP_AREA() ::tcpd::fault::map_area()
#else
#define FAULT_POINT(name) static_cast<void>(0)
#define FAULT_MAP_AREA() ::tcpd::Result<void>()
#endif
