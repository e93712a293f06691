#include "conf/check_loops.h"

#include <fmt/core.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "conf/values.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

struct Step {
    size_t from, to;  // listeners
    const Upstream* upstream;
    const Address* server;
};

Address without_port(Address address) {
    address.set_port(0);
    return address;
}

// An address that a listener has, or one of the machine where it has them all.
bool is_at(const Address& server, const Address& listened,
           const std::function<bool(const Address&)>& is_ours) {
    if (server == listened) return true;
    return !server.is_unix() && server.overlaps(listened) && is_ours(server);
}

std::vector<Step> steps_of(const Draft& draft, const std::function<bool(const Address&)>& is_ours) {
    std::vector<Step> steps;
    const Config& config = draft.config;
    for (size_t i = 0; i < config.listeners.size(); ++i) {
        const Handler& handler = config.listeners[i].handler;
        if (handler.kind != HandlerKind::proxy || handler.upstream >= config.upstreams.size()) continue;
        const Upstream& upstream = config.upstreams[handler.upstream];
        for (const Address& server : upstream.servers) {
            for (const Bound& bound : draft.bound) {
                if (is_at(server, bound.address, is_ours))
                    steps.push_back({i, bound.listener, &upstream, &server});
            }
        }
    }
    return steps;
}

bool leads_to(const std::vector<Step>& steps, size_t from, size_t to, std::vector<bool>& seen) {
    if (from == to) return true;
    if (seen[from]) return false;
    seen[from] = true;
    return std::any_of(steps.begin(), steps.end(), [&](const Step& step) {
        return step.from == from && leads_to(steps, step.to, to, seen);
    });
}

const in6_addr& v6_of(const Address& address) {
    return reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr;
}

}  // namespace

bool is_loopback(const Address& address) {
    if (address.family() == AF_INET) {
        const uint32_t host = ntohl(reinterpret_cast<const sockaddr_in*>(address.get())->sin_addr.s_addr);
        return host == INADDR_ANY || host >> 24 == 127;
    }
    return address.family() == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(&v6_of(address)) || IN6_IS_ADDR_UNSPECIFIED(&v6_of(address)));
}

bool is_of_this_machine(const Address& address) {
    if (is_loopback(address)) return true;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return false;
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != address.family()) continue;
        const socklen_t length = address.family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
        if (without_port(Address::from_sockaddr(one->ifa_addr, length)) == without_port(address)) return true;
    }
    return false;
}

void check_loops(Draft& draft, const std::function<bool(const Address&)>& is_ours) {
    const std::vector<Step> steps = steps_of(draft, is_ours);
    std::vector<bool> told(draft.config.listeners.size());
    for (const Step& step : steps) {
        std::vector<bool> seen(draft.config.listeners.size());
        if (told[step.from] || !leads_to(steps, step.to, step.from, seen)) continue;
        told[step.from] = true;
        const std::string key_path = below("listeners", draft.config.listeners[step.from].name) + ".handler";
        const std::string whose = step.to == step.from
                                      ? "this listener itself"
                                      : fmt::format("listener {}, from where it comes back here",
                                                    tcpd::quoted(draft.config.listeners[step.to].name));
        draft.add_problem(
            key_path, fmt::format("server {} of upstream {} is {}: a client would be passed on without end "
                                  "(change the server, or what is listened on)",
                                  step.server->text(), tcpd::quoted(step.upstream->name), whose));
    }
}

}  // namespace tcpd::conf
