#include "conf/grammar.h"

#include <algorithm>
#include <array>

#include "daemon/base/net/port_range.h"

namespace tcpd::conf {

namespace {

using namespace std::chrono_literals;

constexpr uint64_t kKiB = 1024, kGiB = 1024 * 1024 * kKiB;
constexpr Duration kYear = 8760h;
constexpr size_t kMaxPathBytes = 4095;    // PATH_MAX less its 0
constexpr size_t kMaxPidFileBytes = 103;  // PATH.ctl beside it is a unix socket: 107
constexpr size_t kMaxListenAddresses = kMaxRangePorts;
constexpr size_t kMaxServers = 255;
constexpr size_t kMaxBlocks = 10'000;

constexpr std::array<std::string_view, 2> kFormats{"text", "json"};
constexpr std::array<std::string_view, 1> kBalances{"round_robin"};
constexpr std::array<std::string_view, 2> kOrders{"big", "little"};
constexpr std::array<std::string_view, 2> kEncodings{"fixed", "varint"};
constexpr std::array<std::string_view, 3> kLengthCounts{"payload", "from_itself", "whole_frame"};
constexpr unsigned kMaxFieldOffset = 48;  // fields lie within the first 64 bytes
constexpr size_t kMaxPatternBytes = 16;
constexpr size_t kMaxRanges = 256;
constexpr std::array<std::string_view, 1> kAuthMethods{"token"};
constexpr std::array<std::string_view, 2> kRouteHandlers{"echo", "discard"};

bool has_magic(const Target& t) { return !t.framing->magic.empty(); }
bool has_type(const Target& t) { return t.framing->type_bytes != 0; }
bool has_length(const Target& t) { return t.framing->kind == FramingKind::length; }
constexpr Need kFrames{
    [](const Listener& l) { return l.framing.kind != FramingKind::raw; }, "framing",
    "needs frames, and framing raw has none (framing: line, tcpd, or a name under framings)"};
constexpr Need kVaryingFrames{
    [](const Listener& l) {
        return l.framing.kind != FramingKind::raw && l.framing.kind != FramingKind::fixed;
    },
    "framing",
    "needs frames that vary in size (framing: line, tcpd, or one under framings that is not fixed)"};
constexpr Need kTcpdFrames{[](const Listener& l) { return l.framing.kind == FramingKind::tcpd; }, "framing",
                           "goes with framing: tcpd only"};
constexpr Need kOwnAddress{[](const Listener& l) {
                               return std::any_of(l.listen.begin(), l.listen.end(), [](const Address& a) {
                                   return !a.is_unix() && !a.is_inherited();
                               });
                           },
                           "listen", "goes with IPV4:PORT and [IPV6]:PORT only (leave it out)"};
constexpr Need kAuth{[](const Listener& l) { return l.auth.by_token; }, "auth", "goes with auth only"};

bool has_auth(const Target& t) { return t.listener->auth.by_token; }
bool has_unix_keys(const Target& t) { return t.listener->unix_socket != UnixSocket{}; }

constexpr Time time_limit(At<Duration> at) { return {at, 1ms, kYear, true, 1ms}; }
// TCP_KEEPIDLE and TCP_KEEPINTVL are whole seconds, at most 32767: tcp(7), net/tcp.h.
constexpr Time keepalive_time(At<Duration> at) { return {at, 1s, 32767s, false, 1s}; }
constexpr uint64_t kLeastMemory = kGiB / 1024, kMostMemory = 65536 * kGiB;
constexpr Size memory_limit(At<uint64_t> at) { return {at, kLeastMemory, kMostMemory, false, true}; }
constexpr Size water_mark(At<uint64_t> at) { return {at, 1, kGiB}; }

constexpr std::string_view kNoListeners =
    "no listeners are declared (at least one: listeners: {NAME: {listen: \"127.0.0.1:7000\", handler: "
    "echo}})";

const auto kRows = std::to_array<Row>({
    {"workers", OptionalCount{[](const Target& t) { return &t.config->workers; }, 1, kMaxWorkers, "auto"},
     "worker processes; auto: one for each CPU that tcpd may use"},
    {"user", Account{[](const Target& t) { return &t.config->user; }},
     "uid and groups of the workers; absent: those of the master"},
    {"pid_file", Path{[](const Target& t) { return &t.config->pid_file; }, "", kMaxPidFileBytes},
     "holds the master's pid; absent: none, and no tcpd -s"},
    {"include", Include{}, "a file or pattern, or a list; they add listeners, upstreams and framings"},

    {"drain", Section{}, "how a SIGTERM ends what is open"},
    {"drain.stop", time_limit([](const Target& t) { return &t.config->drain.stop; }),
     "time for connections to end by themselves; 0: no limit"},
    {"drain.replaced", time_limit([](const Target& t) { return &t.config->drain.replaced; }),
     "how long connections may go on whose listener a reload removed or replaced, then they are closed"},
    {"drain.spread", Flag{[](const Target& t) { return &t.config->drain.spread; }},
     "close evenly over the second half of that time; false: all at its end"},

    {"log", Section{}, "what is logged, how and where"},
    {"log.level",
     Choice{log::kLevelNames, [](const Target& t) { return static_cast<size_t>(t.config->log.level); },
            [](const Target& t, size_t word) { t.config->log.level = static_cast<log::Level>(word); }},
     "trace, debug, info, warn, error, critical or off"},
    {"log.format",
     Choice{kFormats, [](const Target& t) { return static_cast<size_t>(t.config->log.format); },
            [](const Target& t, size_t word) { t.config->log.format = static_cast<log::Format>(word); }},
     "text or json, one line an event"},
    {"log.output", Path{[](const Target& t) { return &t.config->log.output; }, "stderr", kMaxPathBytes},
     "stderr, or a file, opened anew on SIGUSR1"},

    {"supervisor", Section{}, "how the master deals with workers that die or hang"},
    {"supervisor.respawn", Section{}, "waits after a worker that lived for less than 200ms"},
    {"supervisor.respawn.initial",
     Time{[](const Target& t) { return &t.config->supervisor.respawn_initial; }, 1ms, 1h, false, 1ms},
     "the first wait; it doubles with each further such death"},
    {"supervisor.respawn.max",
     Time{[](const Target& t) { return &t.config->supervisor.respawn_max; }, 1ms, 24h, false, 1ms},
     "the longest wait"},
    {"supervisor.watchdog",
     Time{[](const Target& t) { return &t.config->supervisor.watchdog; }, 100ms, 1h, true, 1ms},
     "a worker silent for so long is killed; 0: never"},

    {"memory", Section{}, "what buffers in use may take before new work is refused; 0: no limit"},
    {"memory.worker", memory_limit([](const Target& t) { return &t.config->memory.worker_bytes; }),
     "those of each worker"},
    {"memory.total",
     WordOrSize{[](const Target& t) { return &t.config->memory.total_bytes; }, kLeastMemory, kMostMemory,
                "auto"},
     "those of all workers; auto: what control groups leave to them"},

    {"framings", Names{}, "how streams are cut into frames, by name; for listeners and tcpd --decode", "",
     true},
    {"framings.NAME", Section{}, "one of: length, delimiter, fixed"},
    {"framings.NAME.magic", Section{has_magic}, "bytes that every frame has at one place"},
    {"framings.NAME.magic.offset",
     Count{[](const Target& t) { return &t.framing->magic_offset; }, 0, kMaxFieldOffset},
     "from the frame's first byte"},
    {"framings.NAME.magic.bytes", Bytes{[](const Target& t) { return &t.framing->magic; }, kMaxPatternBytes},
     "in hexadecimal", "is missing (such as \"7E7E\")"},
    {"framings.NAME.type", Section{has_type}, "a number that says what a frame is; with length only"},
    {"framings.NAME.type.offset",
     Count{[](const Target& t) { return &t.framing->type_offset; }, 0, kMaxFieldOffset},
     "from the frame's first byte; it may lie behind the length"},
    {"framings.NAME.type.size", Count{[](const Target& t) { return &t.framing->type_bytes; }, 1, 4}, "bytes",
     "is missing (1 to 4)"},
    {"framings.NAME.type.order",
     Choice{kOrders, [](const Target& t) { return static_cast<size_t>(t.framing->type_order); },
            [](const Target& t, size_t word) { t.framing->type_order = static_cast<ByteOrder>(word); }},
     "of its bytes"},
    {"framings.NAME.length", Section{has_length}, "a number that says how long a frame is"},
    {"framings.NAME.length.offset",
     Count{[](const Target& t) { return &t.framing->length_offset; }, 0, kMaxFieldOffset},
     "from the frame's first byte; the header ends where the length ends"},
    {"framings.NAME.length.encoding",
     Choice{kEncodings, [](const Target& t) { return size_t{t.framing->length_is_varint}; },
            [](const Target& t, size_t word) { t.framing->length_is_varint = word == 1; }},
     "fixed: size bytes; varint: LEB128, at most 5 bytes"},
    {"framings.NAME.length.size",
     OptionalCount{[](const Target& t) { return &t.framing->length_bytes; }, 1, 8, ""},
     "bytes: 1, 2, 3, 4 or 8; for encoding fixed"},
    {"framings.NAME.length.order",
     Choice{kOrders, [](const Target& t) { return static_cast<size_t>(t.framing->length_order); },
            [](const Target& t, size_t word) { t.framing->length_order = static_cast<ByteOrder>(word); }},
     "of its bytes; for encoding fixed"},
    {"framings.NAME.length.counts",
     Choice{kLengthCounts, [](const Target& t) { return static_cast<size_t>(t.framing->length_counts); },
            [](const Target& t, size_t word) { t.framing->length_counts = static_cast<LengthCounts>(word); }},
     "what it counts: all behind the header; from its own first byte; the frame from its begin"},
    {"framings.NAME.length.adjust",
     SignedCount{[](const Target& t) { return &t.framing->length_adjust; }, -1'000'000, 1'000'000},
     "added to it: for a trailer that it does not count"},
    {"framings.NAME.delimiter",
     Bytes{[](const Target& t) { return &t.framing->delimiter; }, kMaxPatternBytes},
     "bytes, in hexadecimal, that end a frame"},
    {"framings.NAME.both_ends", Flag{[](const Target& t) { return &t.framing->both_ends; }},
     "with delimiter: it stands before a frame, too"},
    {"framings.NAME.fixed", OptionalSize{[](const Target& t) { return &t.framing->fixed_bytes; }, 1, kGiB},
     "every frame has so many bytes"},
    {"framings.NAME.max_frame", Size{[](const Target& t) { return &t.framing->max_frame_bytes; }, 1, kGiB},
     "most bytes after the header, adjust included; delimiters do not count"},
    {"framings.NAME.replies", ReplyName{},
     "what servers answer in: raw (bytes, not cut), line, or a name under framings, whose own replies do not "
     "count here; absent: this one; listeners with {proxy: UPSTREAM} only"},

    {"listeners", Names{}, "where clients come in, by name", kNoListeners, true},
    {"listeners.NAME", Section{}, "one listener"},
    {"listeners.NAME.listen",
     Addresses{[](const Target& t) { return &t.listener->listen; }, true, kMaxListenAddresses},
     "one address or a list: IPV4:PORT, [IPV6]:PORT, *:PORT (both, as far as the machine has them), "
     "unix:PATH, systemd:NAME; port 0: any free one; PORT-PORT: each of them",
     "is missing (an address such as 127.0.0.1:7000 or unix:/run/x.sock, or a list of them)"},
    {"listeners.NAME.unix", Section{has_unix_keys},
     "the file of a unix socket; absent: as umask and user make it"},
    {"listeners.NAME.unix.mode", Mode{[](const Target& t) { return &t.listener->unix_socket.mode; }},
     "permissions, four octal digits"},
    {"listeners.NAME.unix.owner", Account{[](const Target& t) { return &t.listener->unix_socket.owner; }},
     "the user that owns it"},
    {"listeners.NAME.unix.group", Account{[](const Target& t) { return &t.listener->unix_socket.group; }},
     "the group that it belongs to"},
    {"listeners.NAME.backlog", Count{[](const Target& t) { return &t.listener->backlog; }, 1, 65535},
     "connections that wait to be accepted, of each worker; the kernel's somaxconn caps it"},
    {"listeners.NAME.freebind", Flag{[](const Target& t) { return &t.listener->freebind; }},
     "listen on an address before an interface has it (IP_FREEBIND): one that floats, or comes late at boot",
     "", false, kOwnAddress},
    {"listeners.NAME.framing", FramingName{},
     "how streams are cut into frames: raw (not at all), line, tcpd, or a name under framings"},
    {"listeners.NAME.max_frame",
     Size{[](const Target& t) { return &t.listener->framing.max_frame_bytes; }, 1, kGiB, true},
     "most bytes after the header (for tcpd: the payload), in place of what the framing says", "", false,
     kVaryingFrames},
    {"listeners.NAME.auth", Section{has_auth}, "who clients are, which they say first; framing tcpd only", "",
     false, kTcpdFrames},
    {"listeners.NAME.auth.methods",
     Words{kAuthMethods, [](const Target& t, size_t) { return &t.listener->auth.by_token; }},
     "token: a secret, sent in the AUTH frame", "is missing (methods: [token])"},
    {"listeners.NAME.auth.tokens",
     Path{[](const Target& t) { return &t.listener->auth.tokens_path; }, "", kMaxPathBytes},
     "a file with a line identity:sha256-hex for each token, of mode 0640 or less; read at start and reload",
     "is missing (a file with a line identity:sha256-hex for each token)"},
    {"listeners.NAME.heartbeat", Section{}, "whether silent clients are still there; framing tcpd only", "",
     false, kTcpdFrames},
    {"listeners.NAME.heartbeat.interval",
     time_limit([](const Target& t) { return &t.listener->heartbeat.interval; }),
     "silence before a PING is sent, and between PINGs; 0: none is"},
    {"listeners.NAME.heartbeat.misses",
     Count{[](const Target& t) { return &t.listener->heartbeat.misses; }, 1, 255},
     "unanswered PINGs until the connection counts as lost"},
    {"listeners.NAME.keepalive", Section{},
     "a client is unreachable of which nothing was heard for idle + interval * probes, whether it is probed "
     "or "
     "owes an acknowledgement"},
    {"listeners.NAME.keepalive.idle",
     keepalive_time([](const Target& t) { return &t.listener->keepalive.idle; }),
     "silence before the first probe, whole seconds"},
    {"listeners.NAME.keepalive.interval",
     keepalive_time([](const Target& t) { return &t.listener->keepalive.interval; }),
     "between probes, whole seconds"},
    {"listeners.NAME.keepalive.probes",
     Count{[](const Target& t) { return &t.listener->keepalive.probes; }, 1, 127},
     "unanswered probes until the connection counts as dead"},
    {"listeners.NAME.timeouts", Section{}, "0: no limit"},
    {"listeners.NAME.timeouts.auth", time_limit([](const Target& t) { return &t.listener->timeouts.auth; }),
     "until a client has said who it is and was accepted; with auth only", "", false, kAuth},
    {"listeners.NAME.timeouts.idle", time_limit([](const Target& t) { return &t.listener->timeouts.idle; }),
     "no byte either way"},
    {"listeners.NAME.timeouts.half_close",
     time_limit([](const Target& t) { return &t.listener->timeouts.half_close; }),
     "one direction ended, no byte in the other"},
    {"listeners.NAME.timeouts.closing",
     time_limit([](const Target& t) { return &t.listener->timeouts.closing; }),
     "whole time to flush and close"},
    {"listeners.NAME.timeouts.slow_reader",
     time_limit([](const Target& t) { return &t.listener->timeouts.slow_reader; }),
     "unsent output, here or in the kernel, and no byte of it acknowledged"},
    {"listeners.NAME.timeouts.frame", time_limit([](const Target& t) { return &t.listener->timeouts.frame; }),
     "a frame has begun, and no further byte of it comes", "", false, kFrames},
    {"listeners.NAME.limits", Section{}, "what one listener may take"},
    {"listeners.NAME.limits.connections",
     Limit{[](const Target& t) { return &t.listener->limits.connections; }, 0xffffffff},
     "open connections over all workers; 0: none"},
    {"listeners.NAME.limits.connections_per_ip",
     Limit{[](const Target& t) { return &t.listener->limits.connections_per_ip; }, 0xffffffff},
     "those of one client address over all workers, IPv6 by /64; 0: none; not for unix sockets"},
    {"listeners.NAME.limits.accept_rate",
     RateLimit{[](const Target& t) { return &t.listener->limits.accept_rate; }},
     "new connections over all workers, and as many at once; above it they are closed; 0: none"},
    {"listeners.NAME.limits.message_rate",
     RateLimit{[](const Target& t) { return &t.listener->limits.message_rate; }},
     "frames of each session, and as many at once; above it error 429, or a pause; 0: none", "", false,
     kFrames},
    {"listeners.NAME.limits.output_high",
     water_mark([](const Target& t) { return &t.listener->limits.output_high_bytes; }),
     "unsent bytes of a connection above which its source is not read"},
    {"listeners.NAME.limits.output_low",
     water_mark([](const Target& t) { return &t.listener->limits.output_low_bytes; }),
     "unsent bytes below which reading goes on"},
    {"listeners.NAME.allow", Blocks{[](const Target& t) { return &t.listener->allow; }, kMaxBlocks},
     "the clients that are let in, as CIDR blocks, one or a list; empty: everyone; not for unix sockets"},
    {"listeners.NAME.deny", Blocks{[](const Target& t) { return &t.listener->deny; }, kMaxBlocks},
     "those that are not, whatever allow says; both are asked when a connection comes in; not for unix "
     "sockets"},
    {"listeners.NAME.handler", HandlerChoice{},
     "echo, discard, {proxy: UPSTREAM}, or {routes: [...]}, which chooses by the frame's type",
     "is missing (echo, discard, {proxy: UPSTREAM} or {routes: [...]})"},
    {"listeners.NAME.handler.proxy", UpstreamName{},
     "both ways, whole frames where there are frames; one upstream connection for each client"},
    {"listeners.NAME.handler.routes", Routes{},
     "what is done with which frames: the first that matches; none: error 400, or without error frames the "
     "connection is closed",
     "", false, kFrames},
    {"listeners.NAME.handler.routes.types",
     Ranges{[](const Target& t) { return &t.route->types; }, kMaxRanges},
     "the types that it takes, such as [1, 2, 0x10-0x1F]; this or default"},
    {"listeners.NAME.handler.routes.default", DefaultRoute{}, "true: it takes every frame"},
    {"listeners.NAME.handler.routes.handler",
     Choice{kRouteHandlers, [](const Target& t) { return static_cast<size_t>(t.route->action); },
            [](const Target& t, size_t word) { t.route->action = static_cast<RouteAction>(word); }, false},
     "what is done with them; this or error"},
    {"listeners.NAME.handler.routes.error", FrameError{},
     "they are answered by this error; framing tcpd only"},
    {"listeners.NAME.handler.routes.one_way", Flag{[](const Target& t) { return &t.route->one_way; }},
     "tells the reader that they are never answered; with discard only, which answers nothing anyway"},

    {"upstreams", Names{}, "where the proxy dials to, by name", "", true},
    {"upstreams.NAME", Section{}, "one group of servers"},
    {"upstreams.NAME.servers",
     Addresses{[](const Target& t) { return &t.upstream->servers; }, false, kMaxServers},
     "IPV4:PORT, [IPV6]:PORT or unix:PATH, one or a list",
     "is missing (an address such as 10.0.0.5:5432 or unix:/run/x.sock, or a list of them)"},
    {"upstreams.NAME.balance",
     Choice{kBalances, [](const Target& t) { return static_cast<size_t>(t.upstream->balance); },
            [](const Target& t, size_t word) { t.upstream->balance = static_cast<Balance>(word); }},
     "round_robin, the only one so far: in turn; one that refuses is passed over"},
    {"upstreams.NAME.keepalive", Section{},
     "a server is unreachable of which nothing was heard for idle + interval * probes, whether it is probed "
     "or "
     "owes an acknowledgement"},
    {"upstreams.NAME.keepalive.idle",
     keepalive_time([](const Target& t) { return &t.upstream->keepalive.idle; }),
     "silence before the first probe, whole seconds"},
    {"upstreams.NAME.keepalive.interval",
     keepalive_time([](const Target& t) { return &t.upstream->keepalive.interval; }),
     "between probes, whole seconds"},
    {"upstreams.NAME.keepalive.probes",
     Count{[](const Target& t) { return &t.upstream->keepalive.probes; }, 1, 127},
     "unanswered probes until the connection counts as dead"},
    {"upstreams.NAME.timeouts", Section{}, "0: no limit"},
    {"upstreams.NAME.timeouts.dial", time_limit([](const Target& t) { return &t.upstream->dial_timeout; }),
     "until a server has taken the connection"},
});

}  // namespace

std::span<const Row> grammar() { return kRows; }

}  // namespace tcpd::conf
