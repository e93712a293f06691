#pragma once

// What a reload brings, read and checked before anything moves: the files as they are now, once, for all
// slots. Master only; owns nothing that outlives the call. If the master dies in here, nothing has changed.

#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "daemon/base/error.h"
#include "daemon/base/log.h"
#include "master/crew/crew.h"

namespace tcpd::master {

struct NewConfig {
    conf::Config config;
    UniqueFd bundle;
    std::vector<std::string> warnings;
};

// bad_config names the first problem and says how many there are; each is logged. What a reload can't change
// is refused by name.
Result<NewConfig> read_new_config(const std::string& path, const conf::Config& in_force);
// Keys whose change needs a restart: empty if none has changed. Pure.
std::string unchangeable(const conf::Config& in_force, const conf::Config& wanted);

}  // namespace tcpd::master
