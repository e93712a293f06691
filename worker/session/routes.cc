#include "worker/session/routes.h"

namespace tcpd::worker {

namespace {

constexpr FrameVerdict kNoRoute{FrameVerdict::What::refuse, Refusal::no_route};

FrameVerdict verdict_of(const conf::Route& route) {
    switch (route.action) {
        case conf::RouteAction::echo: return {FrameVerdict::What::pass};
        case conf::RouteAction::discard: return {FrameVerdict::What::drop};
        case conf::RouteAction::error: break;
    }
    return {FrameVerdict::What::refuse, refusal_of(static_cast<FrameError>(route.error))};
}

}  // namespace

Routes::Routes(const conf::Handler& handler) {
    if (handler.kind == conf::HandlerKind::discard) rest_ = {FrameVerdict::What::drop};
    if (handler.kind != conf::HandlerKind::routes) return;
    rest_ = kNoRoute;
    for (const conf::Route& route : handler.routes) {
        if (route.types.empty()) {
            rest_ = verdict_of(route);
            break;
        }
        for (const conf::TypeRange& range : route.types) {
            routes_.push_back({range.first, range.last, verdict_of(route)});
        }
    }
}

FrameVerdict Routes::look_up(uint32_t type) const {
    for (const Route& route : routes_) {
        if (type >= route.first && type <= route.last) return route.verdict;
    }
    return rest_;
}

}  // namespace tcpd::worker
