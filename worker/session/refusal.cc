#include "worker/session/refusal.h"

namespace tcpd::worker {

ErrorText text_of(Refusal refusal) {
    switch (refusal) {
        case Refusal::no_route: return {FrameError::malformed, "no route for this type"};
        case Refusal::not_allowed: return {FrameError::unauthorized, "not allowed"};
        case Refusal::too_long: return {FrameError::too_long, "too long"};
        case Refusal::too_many: return {FrameError::too_many, "too many messages"};
        case Refusal::not_available: return {FrameError::unavailable, "not available"};
        case Refusal::too_late: return {FrameError::late, "too late"};
        case Refusal::long_ping: return {FrameError::malformed, "a PING has 64 bytes at most"};
        case Refusal::second_auth: return {FrameError::malformed, "authenticated already"};
        case Refusal::needless_auth: return {FrameError::malformed, "no authentication here"};
        case Refusal::close_with_payload: return {FrameError::malformed, "a CLOSE has no payload"};
        case Refusal::not_from_client:
            return {FrameError::malformed, "not a control frame that a client sends"};
        case Refusal::no_memory:
            return {FrameError::unavailable, "no memory for a message that comes in parts"};
        case Refusal::failed: break;
    }
    return {FrameError::failed, "failed"};
}

Refusal refusal_of(FrameError code) {
    switch (code) {
        case FrameError::malformed: return Refusal::no_route;
        case FrameError::unauthorized: return Refusal::not_allowed;
        case FrameError::too_long: return Refusal::too_long;
        case FrameError::too_many: return Refusal::too_many;
        case FrameError::failed: return Refusal::failed;
        case FrameError::unavailable: return Refusal::not_available;
        case FrameError::late: return Refusal::too_late;
    }
    return Refusal::failed;
}

}  // namespace tcpd::worker
