#pragma once

// What becomes of a frame by its type: the routes of a handler, first match wins. Made from the
// configuration, constant afterwards. Worker only. Source: tcpd.yaml(5), "routes".

#include <cstdint>
#include <vector>

#include "conf/config.h"
#include "worker/session/refusal.h"

namespace tcpd::worker {

struct FrameVerdict {
    enum class What : uint8_t {
        pass,     // to whoever takes the handler's frames: back, or on
        relay,    // the same, and not counted: an upstream's control frame
        drop,     // taken, never answered
        refuse,   // answered by an error in its place
        control,  // for tcpd itself
        unauthorized,
    };
    What what = What::pass;
    Refusal refusal = Refusal::no_route;  // of `refuse`
    bool operator==(const FrameVerdict&) const = default;
};

class Routes {
public:
    explicit Routes(const conf::Handler& handler);
    FrameVerdict find(uint32_t type) const {
        if (routes_.empty()) [[likely]]
            return rest_;
        return look_up(type);
    }

private:
    struct Route {
        uint32_t first, last;
        FrameVerdict verdict;
    };
    FrameVerdict look_up(uint32_t type) const;
    std::vector<Route> routes_;
    FrameVerdict rest_;
};

}  // namespace tcpd::worker
