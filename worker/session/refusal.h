#pragma once

// Why a request gets an ERROR in place of its reply, the connection being kept. One byte, so that an error
// that waits for its place costs no text. Pure. Any process. Source: docs/protocols.md,
// "The frame protocol of tcpd".

#include <cstdint>
#include <string_view>

#include "worker/protocol/control_frame.h"

namespace tcpd::worker {

enum class Refusal : uint8_t {
    no_route,
    not_allowed,
    too_long,
    too_many,
    failed,
    not_available,
    too_late,
    long_ping,
    second_auth,
    needless_auth,
    close_with_payload,
    not_from_client,
    no_memory,
};

struct ErrorText {
    FrameError code;
    std::string_view reason;
};

// Of a value that is none of them, as slot memory might hold: that of `failed`.
ErrorText text_of(Refusal refusal);
// What a route's `error` says.
Refusal refusal_of(FrameError code);

}  // namespace tcpd::worker
