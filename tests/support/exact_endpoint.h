#pragma once

// One end of a connection that sends one pattern and checks another, byte by byte, the end of stream
// included. Its two kinds: the client's (exact_peer.cc) and the upstream's (fake_upstream.cc). Owns its
// socket, which does not block. Runs in the thread of the engine that owns it.

#include <cstdint>

#include "daemon/base/unique_fd.h"
#include "tests/support/exact_stream.h"
#include "tests/support/wait.h"

namespace tcpd::test {

enum class Outcome {
    going_on,
    finished,    // both directions ended where they should
    reset,       // RST, or a broken pipe
    early_end,   // FIN before the stream was whole
    wrong_byte,  // a byte lost, doubled, out of order or never sent
};

class ExactEndpoint {
public:
    explicit ExactEndpoint(UniqueFd fd) : fd_(std::move(fd)) {}
    ExactEndpoint(const ExactEndpoint&) = delete;
    virtual ~ExactEndpoint() = default;

    // Reads once and sends a few times, as far as it may.
    Outcome advance(uint32_t epoll_events);
    // What it waits for: EPOLLIN, EPOLLOUT, both. A paced one's changes with time: ask again each
    // millisecond.
    uint32_t interest() const;
    virtual bool is_paced() const { return false; }  // reads no more than once a millisecond
    int fd() const { return fd_.get(); }
    uint64_t sent() const { return sent_; }
    uint64_t received() const { return received_; }
    bool end_sent() const { return end_sent_; }
    bool end_seen() const { return end_seen_; }
    SteadyClock::duration longest_stall() const { return longest_stall_; }

protected:
    virtual uint64_t send_limit() const = 0;              // how far it may send now
    virtual bool output_is_over() const = 0;              // time for the FIN
    virtual bool end_is_right() const = 0;                // the other end's FIN, at this point
    virtual bool takes(const char* bytes, size_t n) = 0;  // false: wrong
    virtual size_t read_limit() const = 0;                // of one recv
    virtual size_t piece_limit() const = 0;               // of one send
    virtual uint64_t urgent_at() const = 0;               // offset of a byte to send MSG_OOB; kEndless: none
    virtual bool awaits_bytes() const { return false; }   // for stalls
    virtual bool resets_now() const { return false; }

    Pattern out_, in_;
    uint64_t sent_ = 0, received_ = 0;
    bool end_sent_ = false, end_seen_ = false;

private:
    Outcome read_once();
    Outcome send_some();
    size_t next_piece() const;
    Outcome end_output();

    bool may_read() const { return !is_paced() || SteadyClock::now() >= may_read_at_; }

    UniqueFd fd_;
    SteadyClock::time_point may_read_at_{};
    SteadyClock::time_point waits_since_{};
    SteadyClock::duration longest_stall_{};
};

// Non-blocking from now on, urgent bytes in line, and no wait for a delayed acknowledgement, which would look
// like a stall of the daemon's.
void prepare_socket(int fd);

}  // namespace tcpd::test
