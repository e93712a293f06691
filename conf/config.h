#pragma once

// A whole configuration as plain structs, every default filled in; what the grammar (conf/grammar.h) produces
// and the rest of the daemon reads as const. Runs in every process: the master reads files, a slot the sealed
// bundle. Two are equal when all that they say is equal. Source: tcpd.yaml(5). 0 in a time-out: no limit; 0
// in a limit: none.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/address.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

namespace tcpd::conf {

using namespace std::chrono_literals;

inline constexpr unsigned kMaxWorkers = 256;  // slots

struct Drain {
    Duration stop = 30s;
    Duration replaced = 10min;
    bool spread = true;
    bool operator==(const Drain&) const = default;
};

struct Log {
    log::Level level = log::Level::info;
    log::Format format = log::Format::text;
    std::string output = "stderr";  // or an absolute path
    bool operator==(const Log&) const = default;
};

struct Supervisor {
    Duration respawn_initial = 100ms;
    Duration respawn_max = 30s;
    Duration watchdog = 10s;
    bool operator==(const Supervisor&) const = default;
};

struct Keepalive {
    Duration idle = 60s;
    Duration interval = 10s;
    unsigned probes = 6;  // TCP_USER_TIMEOUT is idle + interval * probes
    bool operator==(const Keepalive&) const = default;
};

struct UnixSocket {
    std::optional<unsigned> mode;  // permission bits
    std::string owner, group;      // empty: unchanged
    bool operator==(const UnixSocket&) const = default;
};

struct ListenerTimeouts {
    Duration idle = 0s;
    Duration half_close = 30s;
    Duration closing = 30s;
    Duration slow_reader = 60s;
    bool operator==(const ListenerTimeouts&) const = default;
};

struct Limits {
    uint64_t connections = 0;  // over all workers
    uint64_t output_high_bytes = 256 * 1024;
    uint64_t output_low_bytes = 64 * 1024;
    bool operator==(const Limits&) const = default;
};

enum class HandlerKind : uint8_t { echo, discard, proxy };

struct Handler {
    HandlerKind kind = HandlerKind::echo;
    size_t upstream = 0;  // index into Config::upstreams, for proxy
    bool operator==(const Handler&) const = default;
};

struct Listener {
    std::string name;
    std::vector<Address> listen;  // "*:7000" is two
    UnixSocket unix_socket;
    unsigned backlog = 4096;
    ListenerTimeouts timeouts;
    Keepalive keepalive;
    Limits limits;
    Handler handler;
    bool operator==(const Listener&) const = default;
};

enum class Balance : uint8_t { round_robin };

struct Upstream {
    std::string name;
    std::vector<Address> servers;
    Balance balance = Balance::round_robin;
    Keepalive keepalive;
    Duration dial_timeout = 2s;
    bool operator==(const Upstream&) const = default;
};

struct Config {
    std::string path;                 // absolute, of the main file
    std::optional<unsigned> workers;  // absent: auto
    std::string user;                 // empty: no change
    std::string pid_file;             // absolute; empty: none
    Drain drain;
    Log log;
    Supervisor supervisor;
    std::vector<Listener> listeners;  // in the order of the files
    std::vector<Upstream> upstreams;

    unsigned worker_count() const;  // resolves auto
    bool operator==(const Config&) const = default;
};

}  // namespace tcpd::conf
