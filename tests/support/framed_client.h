#pragma once

// A client of the frame protocol for tests of a few frames, and the frames themselves. Sends and gets whole
// frames; a frame that is none, and what does not come in time, fail the test. Owns its socket. Runs in the
// test's process. Source: docs/protocols.md, "The frame protocol of tcpd".

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/blocking_client.h"
#include "worker/protocol/control_frame.h"

namespace tcpd::test {

struct Frame {
    uint32_t type = 0;
    std::string payload;
    bool is(worker::ControlType control) const { return type == static_cast<uint32_t>(control); }
    bool operator==(const Frame&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Frame& frame);

constexpr uint32_t type_of(worker::ControlType control) { return static_cast<uint32_t>(control); }
// The header alone, whatever length it claims.
std::string header_bytes(uint32_t type, uint64_t length);
std::string frame_bytes(uint32_t type, std::string_view payload = {});
std::string frame_bytes(worker::ControlType control, std::string_view payload = {});
std::string bytes_of(const std::vector<Frame>& frames);
// A token, and the file that knows it, as alice's.
inline constexpr const char* kToken = "alpha-token-15b";
inline constexpr const char* kTokens =
    "alice:f5f75126e9a5b7e4912a7a5cbd2e2b258366266967b4f6f56e8587be5612197a\n";
// The payload of AUTH.
std::string credential(std::string_view token);
// Another text for each `seed`.
std::string payload_of(size_t bytes, unsigned seed = 0);

class FramedClient : public BlockingClient {
public:
    using BlockingClient::BlockingClient;

    void send_frame(uint32_t type, std::string_view payload = {}) { send(frame_bytes(type, payload)); }
    void send_frame(worker::ControlType control, std::string_view payload = {}) {
        send(frame_bytes(control, payload));
    }
    // Throws Failed if something else comes.
    Frame receive_frame();
    // Sends a frame of the application and gets it back, with nothing before it.
    bool echoes_frame(uint32_t type, std::string_view payload);
    bool is_served() { return echoes_frame(7, "served?"); }
    // Sends AUTH; the session id of the AUTH_OK that answers it.
    std::string authenticate(std::string_view token);

    // Boost checks, each for what comes next. The reason that goes with the error is returned.
    std::string expect_error(worker::FrameError code);
    std::string expect_last_error(worker::FrameError code);  // and after it the end, without RST
    void expect_end();                                       // no byte more, and no RST
    // GOAWAY; its grace in milliseconds.
    uint32_t expect_goaway();
};

}  // namespace tcpd::test
