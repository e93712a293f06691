#include "worker/protocol/control_frame.h"

#include <cstring>

namespace tcpd::worker {

namespace {
constexpr size_t kLengthAt = 7;
}

void ControlFrame::put(std::string_view text) {
    std::memcpy(bytes_ + used_, text.data(), text.size());
    used_ += text.size();
}

void ControlFrame::put(uint64_t number, unsigned bytes) {
    while (bytes-- > 0) bytes_[used_++] = static_cast<char>(number >> 8 * bytes);
}

void ControlFrame::begin(ControlType type) {
    used_ = 0;
    put(kTcpdMagic);
    put(kTcpdVersion, 1);
    put(static_cast<uint64_t>(type), 2);
    put(0, 4);
}

std::string_view ControlFrame::end() {
    const size_t all = used_;
    used_ = kLengthAt;
    put(all - kTcpdHeaderBytes, 4);
    return {bytes_, all};
}

std::string_view ControlFrame::auth_ok(std::string_view session_id) {
    begin(ControlType::auth_ok);
    put(session_id);
    return end();
}

std::string_view ControlFrame::ping() {
    begin(ControlType::ping);
    return end();
}

std::string_view ControlFrame::pong(std::string_view payload) {
    begin(ControlType::pong);
    put(payload.substr(0, kMostPingBytes));
    return end();
}

std::string_view ControlFrame::error(FrameError code, std::string_view reason) {
    begin(ControlType::error);
    put(static_cast<uint64_t>(code), 2);
    put(reason.substr(0, kMostReasonBytes));
    return end();
}

std::string_view ControlFrame::goaway(uint32_t grace_ms, std::string_view reason) {
    begin(ControlType::goaway);
    put(grace_ms, 4);
    put(reason.substr(0, kMostReasonBytes));
    return end();
}

}  // namespace tcpd::worker
