#pragma once

// Thousands of authenticated sessions that idle: each answers the PINGs of tcpd, sends one of its own now and
// then, and keeps book of what came. Fails the test for whatever no idle session may see: a second AUTH_OK,
// an error, an end, a PONG that was not asked for. Owns its sockets. Runs in the test's process, one thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/base/net/address.h"
#include "daemon/base/unique_fd.h"
#include "tests/support/framed_client.h"
#include "tests/support/wait.h"

namespace tcpd::test {

class SessionSwarm {
public:
    explicit SessionSwarm(size_t count);
    ~SessionSwarm();

    // One after the other, each with its AUTH; waits for all AUTH_OK.
    void open(const Address& address, std::string_view token);
    void run_until(const std::string& what, const std::function<bool()>& done, Milliseconds limit = 60s);
    // Every session sends a PING with a payload of its own.
    void send_pings();
    bool has_all_pongs() const { return pongs_ == asked_; }
    // Every session sends a frame, which must come back.
    void send_frames();
    bool has_all_echoes() const { return echoes_ == sent_; }
    uint64_t pings_of_server() const { return server_pings_; }

private:
    struct Session {
        UniqueFd fd;
        std::string in;  // the begin of a frame
        uint32_t asked = 0, answered = 0;
        bool is_known = false;  // AUTH_OK came
    };
    void turn(int timeout_ms);
    void read(size_t at);
    void take(size_t at, uint32_t type, std::string_view payload);
    void send(Session& session, std::string_view bytes);
    [[noreturn]] void fail(size_t at, const std::string& what) const;

    std::unique_ptr<Session[]> sessions_;
    size_t count_;
    UniqueFd poller_;
    uint64_t known_ = 0, asked_ = 0, pongs_ = 0, sent_ = 0, echoes_ = 0, server_pings_ = 0;
};

}  // namespace tcpd::test
