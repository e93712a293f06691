#pragma once

// Byte-exact clients: many connections, one thread, one epoll set. Each sends its own stream, checks every
// byte that comes back, their order and the end of stream, and measures its longest stall. Runs in the test's
// thread; owns its sockets. A test goes on between steps, so a kill falls where the daemon happens to be.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/net/address.h"
#include "tests/support/exact_endpoint.h"

namespace tcpd::test {

struct Plan {
    Role far = Role::echo;
    uint64_t up_bytes = 64 * 1024;    // kEndless: until wind_down
    uint64_t down_bytes = 0;          // of a source; kEndless: until the client's FIN
    uint32_t window = 64 * 1024;      // most bytes without an answer; equal to `piece`: ping-pong
    uint32_t piece = 16 * 1024;       // most bytes a send; the size varies below it
    uint32_t read_piece = 64 * 1024;  // most bytes a recv; a slow reader's is small
    int receive_buffer = 0;           // SO_RCVBUF
    int segment = 0;                  // TCP_MAXSEG
    bool from_fresh_address = false;  // 127.x.y.z: one that the kernel remembers nothing of
    bool paced = false;               // reads no more than once a millisecond
    bool urgent = false;              // one urgent byte early in each stream
    bool ends_at_once = false;        // FIN as soon as all is sent; false: once all is answered
    bool resets = false;              // RST once all is sent, and half of the answer is there
    bool far_ends_first = false;
    bool far_resets = false;
    bool holds = false;    // stays connected after up_bytes, until wind_down
    bool repeats = false;  // a new connection after each that finished, until wind_down
    uint32_t far_read_piece = 64 * 1024;
    bool far_paced = false;
    // Whole frames instead of a Hello and random bytes; up_bytes is rounded up to a frame's end. `window`
    // holds more than the longest frame, or it never ends.
    FrameShape frames;
};

struct PeerResults {
    uint64_t opened = 0, finished = 0, refused = 0, reset = 0, early_end = 0, wrong = 0;
    uint64_t sent = 0, received = 0;  // of connections that ended
    SteadyClock::duration longest_stall{};

    uint64_t lost() const { return refused + reset + early_end + wrong; }
    std::string text() const;
};

class ExactPeer {
public:
    ExactPeer();
    ~ExactPeer();

    void open(const Address& address, const Plan& plan, unsigned count = 1);
    // Waits for events at most so long, and handles one batch.
    void step(Milliseconds most = 5ms);
    void run_until(const std::string& what, const std::function<bool()>& holds,
                   Milliseconds limit = kPatience);
    // Until so many bytes more have come back.
    void run_bytes(uint64_t bytes, Milliseconds limit = kPatience);
    // Endless streams end where they are, held connections end, none is repeated.
    void wind_down();
    // Until no connection is left; throws Failed naming those that are stuck.
    void finish(Milliseconds limit = kPatience);

    // Of those that ended; `received` and stalls of the open ones are added.
    PeerResults results() const;
    size_t open_count() const { return open_count_; }
    uint64_t received() const { return received_; }

private:
    class ClientEnd;
    void start(const Address& address, const Plan& plan);
    void adopt(UniqueFd fd, const Address& address, const Plan& plan);
    void on_event(size_t index, uint32_t events);
    void set_interest(size_t index);
    void pace();
    void end(size_t index, Outcome outcome);
    std::string stuck_text() const;

    UniqueFd epoll_;
    std::vector<std::unique_ptr<ClientEnd>> ends_;
    std::vector<size_t> free_;
    size_t open_count_ = 0;
    bool has_paced_ = false;
    uint64_t received_ = 0;
    uint64_t next_seed_;
    bool winds_down_ = false;
    PeerResults results_;
};

// Nothing lost and everything finished, or a Boost error with the figures.
void check_all_finished(const PeerResults& results);

}  // namespace tcpd::test
