#pragma once

// Who is who among listeners, over reloads: which stable id each listener of a configuration has, and what
// became of those that are no more. Pure; master only. Records in slot memory and counters go by the id.
//
// A listener keeps its id as long as name and handler stay the same: new time-outs and limits then hold for
// the connections that it has. One that was removed, or whose handler changed, goes on under its old id with
// its old stanza, in the generation that it stood in, until its drain is over or it has no connection any
// more.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "daemon/base/error.h"
#include "master/drain_order.h"

namespace tcpd::master {

struct RosterListener {
    uint32_t id = 0;
    std::string name;
    uint32_t generation = 0;  // whose configuration has its stanza
    uint32_t index = 0;       // in its Config::listeners
    DrainOrder drain;         // begin_ns 0: it is in force
    bool is_in_force() const { return drain.begin_ns == 0; }
    bool operator==(const RosterListener&) const = default;
};

using Roster = std::vector<RosterListener>;

inline constexpr uint32_t kFirstGeneration = 1;  // 0 is none

struct RosterChange {
    const Roster& before;
    const conf::Config& old_config;  // of those in force before
    const conf::Config& new_config;
    uint32_t new_generation = 0;
    uint64_t now = 0;
    uint32_t given_ids = 0;  // were given out at some time: all below it
    std::function<bool(uint32_t id)> has_connections;
};

// Of the first configuration: ids in the order of the file.
Roster first_roster(const conf::Config& config);
// exhausted: more listeners at one time than there are ids.
Result<Roster> next_roster(const RosterChange& change);
// The id of the listener in force at `index`.
uint32_t id_of(const Roster& roster, uint32_t index);

}  // namespace tcpd::master
