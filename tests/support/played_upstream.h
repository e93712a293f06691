#pragma once

// An upstream that a test plays itself, in step with its clients: each connection that the daemon dials is
// handed out as one more client of the frame protocol. Small buffers. Runs in the test's process; owns its
// listening socket.

#include <string>
#include <thread>

#include "daemon/base/net/address.h"
#include "daemon/base/unique_fd.h"
#include "tests/support/framed_client.h"

namespace tcpd::test {

class PlayedUpstream {
public:
    // `shut`: whoever dials gets no answer before it is opened.
    explicit PlayedUpstream(bool shut = false);
    void open();
    // As a config names it.
    std::string text() const { return address_.text(); }
    // The next that was dialled; throws Failed if none is in time.
    FramedClient accept() const;

private:
    UniqueFd fd_, filler_;
    Address address_;
};

// Sends back whatever comes, from a thread of its own, and then the end. `server` outlives it.
std::jthread echo_all(const FramedClient& server);

}  // namespace tcpd::test
