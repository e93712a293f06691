#include "conf/check.h"
#include "conf/check_loops.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "conf/grammar.h"
#include "conf/listener/framings.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

// The longest that a time-out may be by itself; a worker's clock tells no more than 416 days apart.
constexpr Duration kMaxHeartbeat = std::chrono::hours{24 * 365};

void check_any_listener(Draft& draft) {
    if (!draft.config.listeners.empty()) return;
    if (draft.has_problem_below("listeners")) return;
    draft.add_problem("listeners", std::string(find_key("", "listeners")->when_missing));
}

void check_overlap(Draft& draft, const Bound& earlier, const Bound& later) {
    if (!earlier.address.overlaps(later.address)) return;
    const std::string& name = draft.config.listeners[earlier.listener].name;
    const std::string who =
        earlier.listener == later.listener ? "this listener" : fmt::format("listener {}", tcpd::quoted(name));
    draft.add_problem(later.place, later.key_path,
                      fmt::format("{} is taken by {} already ({} at {}:{}:{})", later.address.text(), who,
                                  earlier.address.text(), earlier.place.file, earlier.place.mark.line,
                                  earlier.place.mark.column));
}

// Each with those before it of the same port: unix sockets have port 0. Of two ranges it is said once.
void check_overlaps(Draft& draft) {
    std::map<uint16_t, std::vector<const Bound*>> by_port;
    std::set<std::pair<std::string_view, std::string_view>> told;
    for (const Bound& bound : draft.bound) {
        std::vector<const Bound*>& others = by_port[bound.address.port()];
        const auto taken = std::find_if(others.begin(), others.end(), [&](const Bound* other) {
            return other->address.overlaps(bound.address);
        });
        if (taken == others.end())
            others.push_back(&bound);
        else if (told.emplace((*taken)->key_path, bound.key_path).second)
            check_overlap(draft, **taken, bound);
    }
}

void check_address_count(Draft& draft) {
    if (draft.bound.size() <= kMaxAddresses) return;
    const Bound& first = draft.bound[kMaxAddresses];
    draft.add_problem(
        first.place, first.key_path,
        fmt::format("{} addresses are too many for all listeners together (at most {}; *:PORT is "
                    "two)",
                    draft.bound.size(), kMaxAddresses));
}

std::string unknown_upstream(const std::string& name, const std::vector<Upstream>& upstreams) {
    std::vector<std::string_view> names;
    for (const Upstream& upstream : upstreams) names.push_back(upstream.name);
    if (names.empty())
        return fmt::format("there is no upstream {} (none is declared under upstreams)", tcpd::quoted(name));
    if (const auto near = nearest(name, names))
        return fmt::format("there is no upstream {} (did you mean {}?)", tcpd::quoted(name), *near);
    return fmt::format("there is no upstream {} (declare it under upstreams)", tcpd::quoted(name));
}

void resolve_upstreams(Draft& draft) {
    const std::vector<Upstream>& upstreams = draft.config.upstreams;
    std::map<std::string_view, size_t> index_of;
    for (size_t at = 0; at < upstreams.size(); ++at) index_of.emplace(upstreams[at].name, at);
    for (const NameUse& use : draft.proxies) {
        const auto found = index_of.find(use.name);
        if (found == index_of.end())
            draft.add_problem(use.place, use.key_path, unknown_upstream(use.name, upstreams));
        else
            draft.config.listeners[use.listener].handler.upstream = found->second;
    }
}

void check_heartbeat(Draft& draft, const Heartbeat& heartbeat, const std::string& key_path) {
    const Duration sum = heartbeat.interval * (heartbeat.misses + 1);
    if (sum <= kMaxHeartbeat) return;
    draft.add_problem(key_path,
                      fmt::format("interval * (misses + 1) is {} (at most {}), the time to notice a loss",
                                  format_duration(sum), format_duration(kMaxHeartbeat)));
}

void check_water_marks(Draft& draft, const Limits& limits, const std::string& key_path) {
    if (limits.output_low_bytes <= limits.output_high_bytes) return;
    const std::string low = key_path + ".output_low", high = key_path + ".output_high";
    const bool is_low_written = draft.is_written(low);
    draft.add_problem(
        is_low_written ? low : high,
        fmt::format("output_low ({}{}) is above output_high ({})", format_size(limits.output_low_bytes),
                    is_low_written ? "" : ", its default", format_size(limits.output_high_bytes)));
}

void check_unix(Draft& draft, const Listener& listener, const std::string& key_path) {
    if (!draft.is_written(key_path) || listener.listen.empty()) return;
    if (std::any_of(listener.listen.begin(), listener.listen.end(),
                    [](const Address& a) { return a.is_unix(); }))
        return;
    draft.add_problem(key_path, "this listener has no unix socket (listen: unix:PATH)");
}

void check_addresses(Draft& draft, const Listener& listener, const std::string& key_path) {
    const auto unix_sockets = std::count_if(listener.listen.begin(), listener.listen.end(),
                                            [](const Address& a) { return a.is_unix(); });
    if (unix_sockets == 0) return;
    const bool is_all = static_cast<size_t>(unix_sockets) == listener.listen.size();
    for (const std::string_view key : keys_by_address(listener)) {
        const std::string path = fmt::format("{}.{}", key_path, key);
        if (is_all) {
            draft.add_problem(path,
                              fmt::format("{} (listen: IPV4:PORT, [IPV6]:PORT or *:PORT)", kNoAddresses));
            continue;
        }
        const Place place = draft.place_of(path);
        draft.warnings.push_back(fmt::format("{}:{}:{}: warning: {}: {}", place.file, place.mark.line,
                                             place.mark.column, path, kSomeNoAddresses));
    }
}

constexpr const char* kBehindVarint =
    "overlaps the length, or stands behind a varint, which has no fixed end";

// What belongs to another way of cutting is not there, and what is there fits together.
void check_framing(Draft& draft, const Framing& framing, const std::string& key_path) {
    const auto complain = [&](const char* key, std::string message) {
        draft.add_problem(key_path + "." + key, std::move(message));
    };
    const bool is_length = framing.kind == FramingKind::length;
    for (const char* key : {"magic", "type"})
        if (!is_length && draft.is_written(key_path + "." + key)) complain(key, "goes with length only");
    if (framing.kind != FramingKind::delimiter && framing.both_ends)
        complain("both_ends", "goes with delimiter only");
    if (framing.kind == FramingKind::fixed && framing.fixed_bytes > framing.max_frame_bytes)
        complain("fixed", fmt::format("is above max_frame ({})", format_size(framing.max_frame_bytes)));
    if (!is_length) return;
    constexpr std::array<unsigned, 5> kSizes{1, 2, 3, 4, 8};
    const unsigned size = framing.length_bytes.value_or(0);
    if (framing.length_is_varint && framing.length_bytes)
        complain("length.size", "does not go with encoding: varint");
    if (framing.length_is_varint && framing.length_order != ByteOrder::big)
        complain("length.order", "does not go with encoding: varint");
    if (!framing.length_is_varint && !framing.length_bytes)
        complain("length.size", "is missing (1, 2, 3, 4 or 8; or encoding: varint)");
    else if (size != 0 && std::find(kSizes.begin(), kSizes.end(), size) == kSizes.end())
        complain("length.size", fmt::format("\"{}\" is not a size of a length (1, 2, 3, 4 or 8)", size));
    const auto overlap = [](unsigned begin, size_t bytes, unsigned other, size_t other_bytes) {
        return bytes != 0 && other_bytes != 0 && begin < other + other_bytes && other < begin + bytes;
    };
    // What stands behind a varint has no fixed place.
    const unsigned length_size = framing.length_is_varint ? 64 : size;
    if (overlap(framing.magic_offset, framing.magic.size(), framing.length_offset, length_size))
        complain("magic", framing.length_is_varint ? kBehindVarint : "overlaps the length");
    if (overlap(framing.type_offset, framing.type_bytes, framing.length_offset, length_size))
        complain("type", framing.length_is_varint ? kBehindVarint : "overlaps the length");
    if (overlap(framing.type_offset, framing.type_bytes, framing.magic_offset, framing.magic.size()))
        complain("type", "overlaps the magic number");
}

void check_respawn(Draft& draft) {
    const Supervisor& supervisor = draft.config.supervisor;
    if (supervisor.respawn_initial <= supervisor.respawn_max) return;
    draft.add_problem("supervisor.respawn", fmt::format("initial ({}) is above max ({})",
                                                        format_duration(supervisor.respawn_initial),
                                                        format_duration(supervisor.respawn_max)));
}

}  // namespace

std::vector<std::string_view> keys_by_address(const Listener& listener) {
    std::vector<std::string_view> keys;
    if (listener.limits.connections_per_ip != 0) keys.push_back("limits.connections_per_ip");
    if (!listener.allow.empty()) keys.push_back("allow");
    if (!listener.deny.empty()) keys.push_back("deny");
    return keys;
}

void check_together(Draft& draft, bool is_whole) {
    if (is_whole) {
        if (draft.purpose != Purpose::cut_frames) check_any_listener(draft);
        resolve_upstreams(draft);
        check_loops(draft, is_loopback);
    }
    check_respawn(draft);
    check_overlaps(draft);
    check_address_count(draft);
    for (const Framing& framing : draft.config.framings)
        check_framing(draft, framing, below("framings", framing.name));
    resolve_framings(draft, is_whole);
    for (const Listener& listener : draft.config.listeners) {
        const std::string key_path = below("listeners", listener.name);
        check_unix(draft, listener, key_path + ".unix");
        check_addresses(draft, listener, key_path);
        check_heartbeat(draft, listener.heartbeat, key_path + ".heartbeat");
        check_water_marks(draft, listener.limits, key_path + ".limits");
    }
}

}  // namespace tcpd::conf
