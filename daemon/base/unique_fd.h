#pragma once

// A descriptor with one owner, closed by its destructor. Runs in every process.
// Connections are not held in one: they belong to the connection table (daemon/slot/record.h). A standby must
// not destroy one either: it shares the worker's table, and its close would be the worker's. Source: open(2),
// close(2).

#include <unistd.h>

#include <utility>

namespace tcpd {

class UniqueFd {
public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_(fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~UniqueFd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1) {
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
    }

private:
    int fd_ = -1;
};

}  // namespace tcpd
