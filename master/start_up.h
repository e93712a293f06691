#pragma once

// What the master does to itself before there is anything to serve: signals, standard descriptors, limits,
// log, user. Master only, once. Source: signal(7), setrlimit(2), the supervisor's view of a daemon in
// daemon(7).

#include <cstdint>
#include <optional>
#include <string>

#include "conf/config.h"
#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::master {

// Every disposition as at boot, whatever a parent left ignored; nothing blocked; SIGPIPE ignored.
void reset_signals();
// The first part of it alone.
void set_dispositions_to_default();
// Descriptors from 3 on that a parent left open do not reach the images.
void seal_descriptors();

// The log file, opened for appending, or a duplicate of stderr.
Result<UniqueFd> open_log(const std::string& output);
// The master's own lines, from now on. `level`: the command line's, which goes before the configuration's.
void start_log(const conf::Log& settings, std::optional<log::Level> level, int fd);

// A start that fails is told to whoever sits before it, too, wherever the log goes.
void say_failure(const std::string& text, const conf::Log& settings);

// Where `user` can't be followed: an Error. Warns of what does not work as it is.
Result<void> check_user(const std::string& user);

struct DescriptorBudget {
    uint64_t limit = 0;  // of each slot's table
    // For what is no connection, and a reserve below which nothing is accepted or dialled.
    uint64_t set_aside = 0;
    uint64_t connections = 0;  // what is left; a proxied one takes two
};

// `addresses`: listening sockets of a slot. Pure.
DescriptorBudget make_budget(uint64_t limit, uint64_t addresses);
// Whether the master itself has enough, for what the configuration makes it hold and for renewals.
Result<void> check_own_descriptors(const conf::Config& config, uint64_t limit);
// Of a budget that has no room for a connection.
Error no_descriptors(const DescriptorBudget& budget, uint64_t addresses);

}  // namespace tcpd::master
