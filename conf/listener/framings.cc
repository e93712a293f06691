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

// A listener's stream of replies is cut by a framing that is there, and tcpd's own has two sides.
void check_replies(Draft& draft, const Framing& framing, bool is_whole) {
    if (framing.replies.empty()) return;
    const std::string key_path = below("framings", framing.name) + ".replies";
    const Framing* replies = find_framing(framing.replies, draft.config.framings);
    if (replies == nullptr && is_whole)
        draft.add_problem(key_path, unknown_framing(framing.replies, draft.config.framings));
    if (replies != nullptr && replies->kind == FramingKind::tcpd)
        draft.add_problem(
            key_path,
            "framing tcpd is for both directions, and answers nothing else (raw, line, or a name "
            "under framings)");
}

// Its own `replies` are those of the listeners that name it.
void resolve_replies(Draft& draft, const NameUse& use, Listener& listener) {
    const std::string& name = listener.framing.replies;
    const Framing* replies = find_framing(name, draft.config.framings);
    if (name.empty() || name == listener.framing.name || replies == nullptr) return;
    listener.replies = *replies;
    listener.replies->replies.clear();
    const bool is_in_doubt = draft.has_problem_below(below("listeners", listener.name) + ".handler");
    if (listener.handler.kind == HandlerKind::proxy || is_in_doubt) return;
    draft.add_problem(use.place, use.key_path,
                      fmt::format("framing {} has replies: {}, which only servers send (handler: {{proxy: "
                                  "UPSTREAM}}, or a framing without replies)",
                                  quoted(listener.framing.name), name));
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
    resolve_replies(draft, use, listener);
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
    for (const Framing& framing : draft.config.framings) check_replies(draft, framing, is_whole);
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
