#include "tests/support/framed_client.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "tests/support/wait.h"

namespace tcpd::test {

using worker::ControlType;
using worker::FrameError;

namespace {

constexpr uint64_t kMostExpectedBytes = 1 << 30;

std::string big_endian(uint64_t value, unsigned bytes) {
    std::string text;
    while (bytes-- > 0) text += static_cast<char>(value >> 8 * bytes);
    return text;
}

uint64_t number_in(std::string_view bytes) {
    uint64_t value = 0;
    for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
    return value;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Frame& frame) {
    return out << fmt::format("frame {:#06x} of {} bytes \"{}\"", frame.type, frame.payload.size(),
                              frame.payload.substr(0, 40));
}

std::string header_bytes(uint32_t type, uint64_t length) {
    return std::string(worker::kTcpdMagic) + big_endian(worker::kTcpdVersion, 1) + big_endian(type, 2) +
           big_endian(length, 4);
}

std::string frame_bytes(uint32_t type, std::string_view payload) {
    return header_bytes(type, payload.size()).append(payload);
}

std::string frame_bytes(ControlType control, std::string_view payload) {
    return frame_bytes(type_of(control), payload);
}

std::string bytes_of(const std::vector<Frame>& frames) {
    std::string bytes;
    for (const Frame& frame : frames) bytes += frame_bytes(frame.type, frame.payload);
    return bytes;
}

std::string credential(std::string_view token) { return std::string(1, '\1').append(token); }

std::string payload_of(size_t bytes, unsigned seed) {
    std::string text(bytes, '\0');
    for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>((i + seed) * 7 + i / 251);
    return text;
}

Frame FramedClient::receive_frame() {
    const std::string header = receive(worker::kTcpdHeaderBytes);
    const std::string_view fields = header;
    const uint64_t length = number_in(fields.substr(7, 4));
    const bool is_right = fields.starts_with(worker::kTcpdMagic) &&
                          static_cast<uint8_t>(header[4]) == worker::kTcpdVersion &&
                          length <= kMostExpectedBytes;
    if (!is_right) throw Failed("what came is no frame");
    return {static_cast<uint32_t>(number_in(fields.substr(5, 2))), receive(length)};
}

bool FramedClient::echoes_frame(uint32_t type, std::string_view payload) {
    send_frame(type, payload);
    const Frame reply = receive_frame();
    return reply.type == type && reply.payload == payload;
}

std::string FramedClient::authenticate(std::string_view token) {
    send_frame(ControlType::auth, credential(token));
    const Frame reply = receive_frame();
    BOOST_CHECK_MESSAGE(reply.is(ControlType::auth_ok), reply << " instead of AUTH_OK");
    BOOST_CHECK_EQUAL(reply.payload.size(), 16U);
    return reply.payload;
}

std::string FramedClient::expect_error(FrameError code) {
    const Frame reply = receive_frame();
    if (!reply.is(ControlType::error) || reply.payload.size() < 2) {
        BOOST_ERROR(fmt::format("no ERROR {}, but ", static_cast<int>(code)) << reply);
        return {};
    }
    const std::string reason = reply.payload.substr(2);
    BOOST_CHECK_EQUAL(number_in(std::string_view(reply.payload).substr(0, 2)), static_cast<uint64_t>(code));
    BOOST_CHECK_LE(reason.size(), worker::kMostReasonBytes);
    BOOST_CHECK(
        std::none_of(reason.begin(), reason.end(), [](unsigned char c) { return c < 32 || c == 127; }));
    return reason;
}

std::string FramedClient::expect_last_error(FrameError code) {
    const std::string reason = expect_error(code);
    expect_end();
    return reason;
}

void FramedClient::expect_end() {
    const std::string rest = receive_all();
    BOOST_CHECK_MESSAGE(rest.empty(), rest.size() << " bytes more before the end");
}

uint32_t FramedClient::expect_goaway() {
    const Frame told = receive_frame();
    BOOST_CHECK_MESSAGE(told.is(ControlType::goaway) && told.payload.size() >= 4,
                        told << " instead of GOAWAY");
    return static_cast<uint32_t>(number_in(std::string_view(told.payload).substr(0, 4)));
}

}  // namespace tcpd::test
