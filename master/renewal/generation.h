#pragma once

// One configuration and one program that images are executed with. Master only. Kept as long as it is in
// force, or a listener that was removed since has its stanza in it, or a slot may have to go back to it. Owns
// its descriptors. If the master dies, images have copies of what they need.

#include <cstdint>
#include <map>
#include <memory>

#include "conf/config.h"
#include "daemon/base/log.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/parts.h"
#include "master/listen/roster.h"

namespace tcpd::master {

struct Generation {
    uint32_t number = kFirstGeneration;
    conf::Config config;
    UniqueFd program, bundle;
    uint32_t level = slot::kLevel;            // of slot memory, that the program knows
    log::Level log_level = log::Level::info;  // the command line's goes before the configuration's
    Roster roster;
};

using Generations = std::map<uint32_t, std::unique_ptr<Generation>>;

}  // namespace tcpd::master
