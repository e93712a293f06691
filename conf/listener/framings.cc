#include "conf/listener/framings.h"

#include <fmt/core.h>

#include "conf/grammar.h"
#include "conf/listener/routes.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

constexpr std::string_view kAnyListener = "listeners.NAME";

std::string unknown_framing(const std::string& name, const std::vector<Framing>& declared) {
    std::vector<std::string_view> names;
    for (const Framing& framing : built_in_framings()) names.push_back(framing.name);
    for (const Framing& framing : declared) names.push_back(framing.name);
    if (const auto near = nearest(name, names))
        return fmt::format("there is no framing {} (did you mean {}?)", quoted(name), *near);
    return fmt::format(
        "there is no framing {} (raw, line and tcpd are built in; declare others under framings)",
        quoted(name));
}

// False: what follows from its framing can't be told.
bool resolve_framing(Draft& draft, const NameUse& use, bool is_whole) {
    const Framing* framing = find_framing(use.name, draft.config.framings);
    if (framing == nullptr && is_whole)
        draft.add_problem(use.place, use.key_path, unknown_framing(use.name, draft.config.framings));
    if (framing == nullptr) return false;
    Listener& listener = draft.config.listeners[use.listener];
    const uint64_t own_max_frame_bytes = listener.framing.max_frame_bytes;
    listener.framing = *framing;
    if (draft.is_written(below("listeners", listener.name) + ".max_frame"))
        listener.framing.max_frame_bytes = own_max_frame_bytes;
    return !draft.has_problem_below(below("framings", framing->name));
}

void check_needs(Draft& draft, const Listener& listener, const std::string& key_path) {
    for (const Row& row : grammar()) {
        if (row.need.is_met == nullptr || row.need.is_met(listener)) continue;
        const std::string path = key_path + std::string(row.path.substr(kAnyListener.size()));
        const bool is_in_doubt = draft.has_problem_below(below(key_path, row.need.key));
        if (draft.is_written(path) && !is_in_doubt) draft.add_problem(path, std::string(row.need.otherwise));
    }
}

}  // namespace

void resolve_framings(Draft& draft, bool is_whole) {
    std::vector<bool> is_known(draft.config.listeners.size(), true);
    for (const NameUse& use : draft.framings)
        if (!resolve_framing(draft, use, is_whole)) is_known[use.listener] = false;
    for (size_t at = 0; at < is_known.size(); ++at) {
        const Listener& listener = draft.config.listeners[at];
        const std::string key_path = below("listeners", listener.name);
        if (!is_known[at]) continue;
        check_needs(draft, listener, key_path);
        if (listener.framing.kind != FramingKind::raw)
            check_routes(draft, listener, key_path + ".handler.routes");
    }
}

}  // namespace tcpd::conf
