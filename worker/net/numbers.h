#pragma once

// Which descriptors may be a connection's: the one rule, for whoever accepts, dials, adopts, hands over, sweeps
// or checks one. Below kFirstListenFd lies what every image has. Standard error and the log may be connected
// sockets there, which look like a client's (systemd's are). From there on listening sockets lie among the
// connections. Worker only. Holds no descriptor.

#include <cstdint>
#include <vector>

namespace tcpd::worker {

class Numbers {
public:
    explicit Numbers(uint32_t record_count) : record_count_(record_count) {}

    // The listening sockets of this image.
    void set_own(std::vector<int> own);
    const std::vector<int>& own() const { return own_; }
    bool may_be_connection(int fd) const;
    // Where accept or socket gave a number that the rule denies, something in this process had closed what
    // stood there. What got it is closed, and /dev/null stands there from now on.
    static void take_back(int fd);

private:
    uint32_t record_count_;
    std::vector<int> own_;  // ascending
};

}  // namespace tcpd::worker
