#pragma once

// The last thing that an image opens while pristine: our epoll set, and /dev/null in every hole below it.
// From then on a descriptor of a connection is always above all pristine ones, and what libev closes and
// opens anew after a succession (ev_loop_fork) lands at the number that it had. Worker and standby share the
// table and close nothing of it. Source: open(2), "lowest-numbered file descriptor"; the libev manual,
// ev_loop_fork.

#include "daemon/base/error.h"

namespace tcpd::worker {

struct DescriptorTable {
    int poller_fd = -1;
    int first_connection_fd = -1;
};
// Before anything is opened: what the master may give, and did not, stays free for nobody.
void plug_given_numbers();
Result<DescriptorTable> prepare_descriptor_table();

}  // namespace tcpd::worker
