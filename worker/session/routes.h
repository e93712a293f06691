#pragma once

// What becomes of a frame by its type: the routes of a handler, first match wins. Made from the
// configuration, constant afterwards. Worker only. Source: tcpd.yaml(5), "routes".

#include <cstdint>
#include <vector>

#include "conf/config.h"
#include "worker/protocol/control_frame.h"

namespace tcpd::worker {

struct Verdict {
    enum class What : uint8_t {
        pass,     // to whoever takes the handler's frames: back, or on
        relay,    // the same, and not counted: an upstream's control frame
        drop,     // taken, never answered
        refuse,   // answered by an error in its place
        control,  // for tcpd itself
        unauthorized,
    };
    What what = What::pass;
    FrameError code = FrameError::malformed;  // of `refuse`
    bool operator==(const Verdict&) const = default;
};

class Routes {
public:
    explicit Routes(const conf::Handler& handler);
    Verdict find(uint32_t type) const {
        if (routes_.empty()) [[likely]]
            return rest_;
        return look_up(type);
    }

private:
    struct Route {
        uint32_t first, last;
        Verdict verdict;
    };
    Verdict look_up(uint32_t type) const;
    std::vector<Route> routes_;
    Verdict rest_;
};

}  // namespace tcpd::worker
