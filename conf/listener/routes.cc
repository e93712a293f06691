#include "conf/listener/routes.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

constexpr uint32_t kLastOfApplications = 0xEFFF;  // in framing tcpd; above are control frames

Error unfit(std::string reason) {
    return Error{.code = ErrorCode::bad_config, .doing = "read", .on = "types", .reason = std::move(reason)};
}

bool may_mean_octal(std::string_view digits) {
    return digits.size() > 1 && digits[0] == '0' &&
           digits.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<uint32_t> parse_type(std::string_view text) {
    const std::optional<uint64_t> number = parse_number(text);
    if (!number || *number > UINT32_MAX) return {};
    return static_cast<uint32_t>(*number);
}

unsigned type_bytes(const Framing& framing) {
    return framing.kind == FramingKind::tcpd ? 2 : framing.type_bytes;
}

uint32_t most_that_fits(unsigned bytes) { return bytes >= 4 ? UINT32_MAX : (1U << (8 * bytes)) - 1; }

// The largest that a route may name.
uint32_t last_type(const Framing& framing) {
    return framing.kind == FramingKind::tcpd ? kLastOfApplications : most_that_fits(type_bytes(framing));
}

// Types, as ranges with a gap between each and the next: so what is in it at all is in one of them.
class TypeSet {
public:
    bool contains(const TypeRange& range) const {
        const auto behind = end_by_first_.upper_bound(range.first);
        return behind != end_by_first_.begin() && std::prev(behind)->second > range.last;
    }
    void add(const TypeRange& range) {
        uint64_t first = range.first, end = uint64_t{range.last} + 1;
        auto at = end_by_first_.upper_bound(first);
        if (at != end_by_first_.begin() && std::prev(at)->second >= first) --at;
        while (at != end_by_first_.end() && at->first <= end) {
            first = std::min(first, at->first);
            end = std::max(end, at->second);
            at = end_by_first_.erase(at);
        }
        end_by_first_.emplace(first, end);
    }

private:
    std::map<uint64_t, uint64_t> end_by_first_;
};

void check_types(Draft& draft, const Framing& framing, const Route& route, const std::string& key_path) {
    if (route.types.empty()) return;
    if (!framing.has_type())
        return draft.add_problem(
            key_path,
            fmt::format("framing {} has no type (only a default matches there)", quoted(framing.name)));
    const auto last = [](const TypeRange& a, const TypeRange& b) { return a.last < b.last; };
    const uint32_t largest = std::max_element(route.types.begin(), route.types.end(), last)->last;
    const unsigned bytes = type_bytes(framing);
    if (largest > most_that_fits(bytes))
        draft.add_problem(key_path,
                          fmt::format("0x{:X} is more than the {} byte{} of a type can hold (at most 0x{:X})",
                                      largest, bytes, bytes == 1 ? "" : "s", last_type(framing)));
    else if (largest > last_type(framing))
        draft.add_problem(
            key_path,
            fmt::format("0x{:X} is a control frame's type, which tcpd handles itself (at most 0x{:X})",
                        largest, last_type(framing)));
}

void check_action(Draft& draft, const Framing& framing, const Route& route, const std::string& key_path) {
    if (route.action == RouteAction::error && framing.kind != FramingKind::tcpd)
        draft.add_problem(key_path + ".error",
                          fmt::format("framing {} has no error frames (leave this route out: a frame that no "
                                      "route matches closes the connection there)",
                                      quoted(framing.name)));
    if (!route.one_way || route.action == RouteAction::discard) return;
    draft.add_problem(key_path + ".one_way",
                      route.action == RouteAction::echo
                          ? "echo only answers, and what is one-way is never answered (take handler: discard)"
                          : "an error is an answer, and what is one-way is never answered (take handler: "
                            "discard)");
}

void check_reach(Draft& draft, const Listener& listener, const std::string& key_path) {
    const TypeRange all{0, last_type(listener.framing)};
    TypeSet taken;
    for (size_t at = 0; at < listener.handler.routes.size(); ++at) {
        std::vector<TypeRange> types = listener.handler.routes[at].types;
        if (types.empty()) types.push_back(all);
        if (std::all_of(types.begin(), types.end(), [&](const TypeRange& r) { return taken.contains(r); }))
            draft.add_problem(fmt::format("{}[{}]", key_path, at),
                              "never matches: the routes before it take all that it would");
        for (const TypeRange& range : types) taken.add(range);
    }
}

}  // namespace

Result<TypeRange> parse_type_range(std::string_view text) {
    const size_t dash = text.find('-');
    const std::string_view begin = text.substr(0, dash);
    const std::string_view end = dash == std::string_view::npos ? begin : text.substr(dash + 1);
    if (may_mean_octal(begin) || may_mean_octal(end))
        return unfit(fmt::format(
            "{} has a number that begins with 0, which could mean octal (write it without)", quoted(text)));
    const std::optional<uint32_t> first = parse_type(begin), last = parse_type(end);
    if (!first || !last)
        return unfit(
            fmt::format("{} is not a type (a number up to 0xFFFFFFFF such as 7 or 0x10, or a range such "
                        "as 0x10-0x1F)",
                        quoted(text)));
    if (*last < *first)
        return unfit(fmt::format("{} ends below its begin (try {}-{})", quoted(text), end, begin));
    return TypeRange{*first, *last};
}

std::string format_type_range(const TypeRange& range) {
    if (range.first == range.last) return fmt::format("0x{:X}", range.first);
    return fmt::format("0x{:X}-0x{:X}", range.first, range.last);
}

bool is_frame_error(uint64_t code) {
    return std::find(kFrameErrors.begin(), kFrameErrors.end(), code) != kFrameErrors.end();
}

void check_routes(Draft& draft, const Listener& listener, const std::string& key_path) {
    for (size_t at = 0; at < listener.handler.routes.size(); ++at) {
        const Route& route = listener.handler.routes[at];
        const std::string path = fmt::format("{}[{}]", key_path, at);
        check_types(draft, listener.framing, route, path + ".types");
        check_action(draft, listener.framing, route, path);
    }
    // One that could not be read looks like a default.
    if (!draft.has_problem_below(key_path)) check_reach(draft, listener, key_path);
}

}  // namespace tcpd::conf
