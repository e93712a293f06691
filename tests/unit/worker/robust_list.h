#pragma once

// As a wild write may leave it: the calling thread's list of robust futexes leads nowhere, so that its death
// wakes nobody.

#include <sys/syscall.h>
#include <unistd.h>

namespace tcpd::test {

inline void overwrite_robust_list() { ::syscall(SYS_set_robust_list, 0x10, 24); }

}  // namespace tcpd::test
