#include "worker/net/numbers.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/base/log.h"
#include "daemon/slot/control_message.h"

namespace tcpd::worker {

namespace {
constexpr int kNullFd = 0;  // standard input is /dev/null in every image
}

void Numbers::set_own(std::vector<int> own) {
    own_ = std::move(own);
    std::sort(own_.begin(), own_.end());
}

bool Numbers::may_be_connection(int fd) const {
    return fd >= slot::kFirstListenFd && static_cast<uint32_t>(fd) < record_count_ &&
           !std::binary_search(own_.begin(), own_.end(), fd);
}

void Numbers::take_back(int fd) {
    log::error("something in this process closed descriptor {}; the connection that got the number is closed",
               fd);
    dup3(kNullFd, fd, O_CLOEXEC);
}

}  // namespace tcpd::worker
