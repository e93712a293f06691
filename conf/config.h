#pragma once

// A whole configuration as plain structs, every default filled in; what the grammar (conf/grammar.h) produces
// and the rest of the daemon reads as const. Runs in every process: the master reads files, a slot the sealed
// bundle. Two are equal when all that they say is equal. Source: tcpd.yaml(5). 0 in a time-out: no limit; 0
// in a limit: none.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/net/address.h"
#include "daemon/base/net/address_block.h"
#include "daemon/base/net/keepalive.h"

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

struct UnixSocket {
    std::optional<unsigned> mode;  // permission bits
    std::string owner, group;      // empty: unchanged
    bool operator==(const UnixSocket&) const = default;
};

enum class FramingKind : uint8_t { raw, line, tcpd, length, delimiter, fixed };
enum class ByteOrder : uint8_t { big, little };
enum class LengthCounts : uint8_t { payload, from_itself, whole_frame };

// How a stream is cut into frames. Offsets are from a frame's first byte; what does not belong to the kind is
// as it is here.
struct Framing {
    std::string name = "raw";  // of a declared one; "raw", "line", "tcpd" of those built in
    FramingKind kind = FramingKind::raw;
    unsigned magic_offset = 0;
    std::string magic;  // bytes, at most 16; empty: none
    unsigned type_offset = 0;
    unsigned type_bytes = 0;  // 1 to 4; 0: frames have no type
    ByteOrder type_order = ByteOrder::big;
    unsigned length_offset = 0;
    bool length_is_varint = false;         // LEB128, at most 5 bytes
    std::optional<unsigned> length_bytes;  // 1, 2, 3, 4, 8; absent for a varint only
    ByteOrder length_order = ByteOrder::big;
    LengthCounts length_counts = LengthCounts::payload;
    int length_adjust = 0;   // added to what the length says; the header ends where the length ends
    std::string delimiter;   // bytes, 1 to 16
    bool both_ends = false;  // it stands before the frame, too
    uint64_t fixed_bytes = 0;
    uint64_t max_frame_bytes = 1024 * 1024;  // after the header, adjust included; delimiters not counted
    std::string replies;  // the name of the framing that servers answer in; empty: this one
    bool has_type() const { return kind == FramingKind::tcpd || type_bytes != 0; }
    bool operator==(const Framing&) const = default;
};

// raw, line and tcpd: names that can't be declared.
std::span<const Framing> built_in_framings();
const Framing* find_built_in_framing(std::string_view name);                            // nullptr: it is none
const Framing* find_framing(std::string_view name, std::span<const Framing> declared);  // one of those, too

struct ListenerTimeouts {
    Duration auth = 5s;  // where authentication is required
    Duration idle = 0s;
    Duration half_close = 30s;
    Duration closing = 30s;
    Duration slow_reader = 60s;
    Duration frame = 60s;  // where frames are cut
    bool operator==(const ListenerTimeouts&) const = default;
};

// Framing tcpd only.
struct Heartbeat {
    Duration interval = 30s;  // 0: none
    unsigned misses = 3;
    bool operator==(const Heartbeat&) const = default;
};

// A token is known by its SHA-256 only; several may have one identity.
struct Token {
    std::string identity;
    std::array<uint8_t, 32> sha256{};
    bool operator==(const Token&) const = default;
};

struct Auth {
    bool by_token = false;    // false: nobody has to say who they are
    std::string tokens_path;  // absolute
    std::vector<Token> tokens;
    bool operator==(const Auth&) const = default;
};

// So many in so long, evenly: 100/s is one each 10 ms, with a burst of 100. count 0: no limit.
struct Rate {
    uint64_t count = 0;
    Duration per = 1s;  // 1s or 1min
    bool operator==(const Rate&) const = default;
};

struct Limits {
    uint64_t connections = 0;         // over all workers
    uint64_t connections_per_ip = 0;  // the same; IPv6 by /64
    Rate accept_rate;                 // the same
    Rate message_rate;                // of each session; where frames are cut
    uint64_t output_high_bytes = 256 * 1024;
    uint64_t output_low_bytes = 64 * 1024;
    bool operator==(const Limits&) const = default;
};

enum class RouteAction : uint8_t { echo, discard, error };

struct TypeRange {
    uint32_t first = 0, last = 0;
    bool operator==(const TypeRange&) const = default;
};

struct Route {
    std::vector<TypeRange> types;  // empty: the default
    RouteAction action = RouteAction::echo;
    unsigned error = 400;  // for error: a code of the frame protocol
    bool one_way = false;  // never answered
    bool operator==(const Route&) const = default;
};

enum class HandlerKind : uint8_t { echo, discard, proxy, routes };

struct Handler {
    HandlerKind kind = HandlerKind::echo;
    size_t upstream = 0;        // index into Config::upstreams, for proxy
    std::vector<Route> routes;  // for routes: the first that matches; none does: error 400
    bool operator==(const Handler&) const = default;
};

struct Listener {
    std::string name;
    std::vector<Address> listen;  // "*:7000" is two
    UnixSocket unix_socket;
    unsigned backlog = 4096;
    bool freebind = false;
    Framing framing;                 // with this listener's own max_frame, if it has one
    std::optional<Framing> replies;  // what goes to clients is cut by it; absent: by `framing`
    Auth auth;
    ListenerTimeouts timeouts;
    Heartbeat heartbeat;
    Keepalive keepalive;
    Limits limits;
    std::vector<AddressBlock> allow, deny;  // of clients; allow empty: everyone; deny wins
    Handler handler;
    const Framing& reply_framing() const { return replies ? *replies : framing; }
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

// Bytes of buffers that may be in use before new work is refused; 0: no limit.
struct Memory {
    uint64_t worker_bytes = 0;
    std::optional<uint64_t> total_bytes;  // absent: auto, as control groups allow
    bool operator==(const Memory&) const = default;
};

struct Config {
    std::string path;                 // absolute, of the main file
    std::optional<unsigned> workers;  // absent: auto
    std::string user;                 // empty: no change
    std::string pid_file;             // absolute; empty: none
    Drain drain;
    Log log;
    Supervisor supervisor;
    Memory memory;
    std::vector<Framing> framings;    // declared ones
    std::vector<Listener> listeners;  // in the order of the files
    std::vector<Upstream> upstreams;

    unsigned worker_count() const;  // resolves auto
    // In the master: one for each address and worker; those that all workers share are one.
    uint64_t listening_sockets() const;
    // What the master needs in all: beside those, for each worker's memory and channels, and for a renewal.
    uint64_t master_descriptors() const;
    bool operator==(const Config&) const = default;
};

}  // namespace tcpd::conf
