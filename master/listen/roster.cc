#include "master/listen/roster.h"

#include <algorithm>
#include <bitset>
#include <optional>

#include "daemon/slot/layout.h"

namespace tcpd::master {

namespace {

bool is_same_handler(const conf::Config& a, const conf::Handler& one, const conf::Config& b,
                     const conf::Handler& other) {
    if (one.kind != other.kind) return false;
    return one.kind != conf::HandlerKind::proxy ||
           a.upstreams[one.upstream].name == b.upstreams[other.upstream].name;
}

// Else a frame that is half received would be taken for another one.
bool cuts_alike(conf::Framing one, const conf::Framing& other) {
    one.name = other.name;
    one.max_frame_bytes = other.max_frame_bytes;
    one.replies = other.replies;  // a name as well: what it stands for is compared by itself
    return one == other;
}

std::optional<uint32_t> find_successor(const RosterListener& entry, const RosterChange& change) {
    if (!entry.is_in_force()) return std::nullopt;
    const conf::Listener& old = change.old_config.listeners[entry.index];
    for (uint32_t i = 0; i < change.new_config.listeners.size(); ++i) {
        const conf::Listener& next = change.new_config.listeners[i];
        if (next.name != old.name) continue;
        if (!is_same_handler(change.old_config, old.handler, change.new_config, next.handler)) break;
        if (!cuts_alike(old.framing, next.framing)) break;
        if (!cuts_alike(old.reply_framing(), next.reply_framing())) break;
        return i;
    }
    return std::nullopt;
}

DrainOrder drain_of_replaced(const RosterChange& change) {
    const uint64_t limit = to_ns(change.new_config.drain.replaced);
    return {change.now, limit == 0 ? 0 : change.now + limit, change.new_config.drain.spread};
}

// One that nobody had: its counters begin at 0. Those of one that somebody had go on.
std::optional<uint32_t> find_id(const std::bitset<slot::kMaxListeners>& taken, const RosterChange& change) {
    const auto is_free = [&](uint32_t id) { return !taken[id] && !change.has_connections(id); };
    for (uint32_t i = 0; i < taken.size(); ++i) {
        const auto id = static_cast<uint32_t>((change.given_ids + i) % taken.size());
        if (is_free(id)) return id;
    }
    return std::nullopt;
}

}  // namespace

Roster first_roster(const conf::Config& config) {
    Roster roster;
    for (uint32_t i = 0; i < config.listeners.size(); ++i) {
        roster.push_back({.id = i,
                          .name = config.listeners[i].name,
                          .generation = kFirstGeneration,
                          .index = i,
                          .drain = {}});
    }
    return roster;
}

// What is let go of in this change is given out in a later one at the earliest.
Result<Roster> next_roster(const RosterChange& change) {
    Roster next;
    std::bitset<slot::kMaxListeners> taken;
    std::vector<bool> is_settled(change.new_config.listeners.size());
    for (RosterListener entry : change.before) {
        if (const auto index = find_successor(entry, change)) {
            entry.generation = change.new_generation;
            entry.index = *index;
            is_settled[*index] = true;
        } else if (entry.is_in_force()) {  // kept even when empty: its queue may hold somebody
            entry.drain = drain_of_replaced(change);
        } else if (!change.has_connections(entry.id)) {
            continue;
        }
        taken.set(entry.id);
        next.push_back(std::move(entry));
    }
    for (const RosterListener& entry : change.before) taken.set(entry.id);
    for (uint32_t i = 0; i < is_settled.size(); ++i) {
        if (is_settled[i]) continue;
        const auto id = find_id(taken, change);
        if (!id) {
            return Error{ErrorCode::exhausted,
                         "give listener an id",
                         change.new_config.listeners[i].name,
                         0,
                         "256 are in use, with those that still have connections",
                         "try again when some of those have ended"};
        }
        taken.set(*id);
        next.push_back({.id = *id,
                        .name = change.new_config.listeners[i].name,
                        .generation = change.new_generation,
                        .index = i,
                        .drain = {}});
    }
    return next;
}

uint32_t id_of(const Roster& roster, uint32_t index) {
    const auto at = std::find_if(roster.begin(), roster.end(), [index](const RosterListener& entry) {
        return entry.is_in_force() && entry.index == index;
    });
    return at == roster.end() ? 0 : at->id;
}

}  // namespace tcpd::master
