#pragma once

// Control frames of the tcpd frame protocol as tcpd sends them. Pure; written into a buffer of the object's
// own, no allocation. Any process. Source: docs/protocols.md, "The frame protocol of tcpd".

#include <cstdint>
#include <string_view>

#include "worker/protocol/framing.h"

namespace tcpd::worker {

enum class ControlType : uint16_t {
    auth = 0xF001,
    auth_ok,
    ping,
    pong,
    error,
    goaway,
    close,
    push,
};

enum class FrameError : uint16_t {
    malformed = 400,
    unauthorized = 401,
    too_long = 413,
    too_many = 429,
    failed = 500,
    unavailable = 503,
    late = 504,
};

inline constexpr size_t kMostPingBytes = 64;
inline constexpr size_t kMostReasonBytes = 255;
inline constexpr size_t kMostControlFrameBytes = kTcpdHeaderBytes + 4 + kMostReasonBytes;  // as tcpd sends
inline constexpr uint32_t kNoGraceLimit = 0xFFFFFFFF;

// Each call overwrites what the one before returned.
class ControlFrame {
public:
    std::string_view auth_ok(std::string_view session_id);
    std::string_view ping();
    std::string_view pong(std::string_view payload);  // kMostPingBytes at most
    // A longer reason is cut.
    std::string_view error(FrameError code, std::string_view reason);
    std::string_view goaway(uint32_t grace_ms, std::string_view reason);

private:
    void begin(ControlType type);
    void put(uint64_t number, unsigned bytes);
    void put(std::string_view text);
    std::string_view end();

    char bytes_[kMostControlFrameBytes];
    size_t used_ = 0;
};

}  // namespace tcpd::worker
