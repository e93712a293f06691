#pragma once

// A client for tests of a few bytes: each call blocks until it is done, with a time limit that fails the
// test. Owns its socket. Runs in the test's process.

#include <string>
#include <string_view>

#include "daemon/base/net/address.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::test {

struct ClientOptions {
    int receive_buffer = 0;  // SO_RCVBUF, before connect; 0: the kernel's
    int segment = 0;         // TCP_MAXSEG: a small one keeps the daemon's send buffer small too
};

enum class Ending { orderly, reset, timed_out };

class BlockingClient {
public:
    // Throws Failed if it cannot connect.
    explicit BlockingClient(const Address& address, const ClientOptions& options = {});
    // One that a listening socket of the test got.
    explicit BlockingClient(UniqueFd accepted);

    void send(std::string_view bytes);
    void send_urgent(char byte);
    // Exactly so many bytes.
    std::string receive(size_t bytes);
    // All bytes until the other end closes; an RST throws.
    std::string receive_all();
    // Sends and receives the same.
    bool echoes(std::string_view bytes);
    void end_output();
    void reset();  // RST
    void close() { fd_.reset(); }
    // How the other end closed; bytes on the way are thrown away.
    Ending wait_end();
    bool has_input() const;
    uint16_t local_port() const;
    int fd() const { return fd_.get(); }

private:
    UniqueFd fd_;
};

// As BlockingClient's constructor; false: refused, or no answer.
bool can_connect(const Address& address);

}  // namespace tcpd::test
