#include <boost/test/unit_test.hpp>

#include <random>

#include "conf/grammar.h"
#include "tests/unit/conf/loading.h"

using namespace tcpd;
using namespace tcpd::conf;
using namespace tcpd::conf::test;
using namespace std::chrono_literals;

namespace {

const Token kToken{"somebody", {0xab, 0xcd}};
const std::string kTokens = "somebody:abcd" + std::string(60, '0') + "\n";

Loaded load_with_tokens(const std::string& text) {
    return load_snapshot(snapshot_of({{"tcpd.yaml", text}, {"tokens", kTokens}}));
}

// Draws whole configurations, each value from the edges and the middle of what the grammar takes.
class Dice {
public:
    explicit Dice(uint64_t seed) : random_(seed) {}

    Config config() {
        Config config{.path = kMain};
        if (flip()) config.workers = static_cast<unsigned>(one_of<uint64_t>({1, 7, 256}));
        if (flip()) config.user = one_of<std::string>({"tcpd", "a\"b", "back\\slash", "null", "0"});
        if (flip())
            config.pid_file = one_of<std::string>({"/run/tcpd.pid", "/a b/c'd\"e#: x", "/\u00e9\u2028/x"});
        config.drain = {duration(), duration(), flip()};
        config.log = {static_cast<log::Level>(one_of<uint64_t>({0, 1, 2, 3, 4, 5, 6})),
                      flip() ? log::Format::json : log::Format::text, flip() ? "stderr" : "/var/log/x"};
        config.supervisor = {one_of<Duration>({1ms, 100ms, 1h}), one_of<Duration>({1h, 24h}),
                             one_of<Duration>({0ms, 100ms, 1h})};
        config.memory = {one_of<uint64_t>({0, 1 << 20, 5'000'000}),
                         one_of<std::optional<uint64_t>>({0, 1ULL << 46, std::nullopt})};
        for (uint64_t left = random_() % 4; left > 0; --left)
            config.upstreams.push_back(upstream(config.upstreams.size()));
        for (uint64_t left = random_() % 4; left > 0; --left)
            config.framings.push_back(framing(config.framings.size()));
        // Without an upstream nobody replies.
        for (Framing& one : config.framings)
            if (!config.upstreams.empty() && flip())
                one.replies = one_of<std::string>({"raw", "line", config.framings[0].name, one.name});
        for (uint64_t left = 1 + random_() % 4; left > 0; --left)
            config.listeners.push_back(listener(config.listeners.size(), config));
        return config;
    }

private:
    bool flip() { return random_() % 2 == 0; }
    template <typename T>
    T one_of(std::vector<T> values) {
        return values[random_() % values.size()];
    }
    Duration duration() { return one_of<Duration>({0ms, 1ms, 999ms, 1000ms, 61s, 90min, 8760h}); }
    Rate rate() { return one_of<Rate>({{}, {1, 1s}, {1, 1min}, {60, 1s}, {1'000'000'000, 1min}}); }
    std::string name(size_t number) {
        return one_of<std::string>({"gateway", "null", "NULL", "true", "9", "-", "a.b", ".", "n", "No"}) +
               (number > 0 ? std::to_string(number) : "");
    }
    Keepalive keepalive() {
        return {one_of<Duration>({1s, 90s, 32767s}), one_of<Duration>({1s, 10s}), flip() ? 1U : 127U};
    }
    Upstream upstream(size_t number) {
        Upstream drawn{.name = name(number), .keepalive = keepalive(), .dial_timeout = duration()};
        for (const char* text : {"[2001:db8::1]:65535", "10.0.0.1:1", "unix:/a \"b\\c"})
            if (flip() || drawn.servers.empty()) drawn.servers.push_back(*Address::parse(text, false));
        return drawn;
    }
    Framing framing(size_t number) {
        Framing drawn{
            .name = name(number),
            .kind = one_of<FramingKind>({FramingKind::length, FramingKind::delimiter, FramingKind::fixed})};
        drawn.max_frame_bytes = one_of<uint64_t>({16, 65535, 1 << 30});
        if (drawn.kind == FramingKind::fixed) drawn.fixed_bytes = one_of<uint64_t>({1, 16});
        if (drawn.kind == FramingKind::delimiter) {
            drawn.delimiter = one_of<std::string>({"\n", {"\0\xff", 2}, "0123456789abcdef"});
            drawn.both_ends = flip();
        }
        if (drawn.kind != FramingKind::length) return drawn;
        drawn.length_offset = 20;
        drawn.length_is_varint = flip();
        if (!drawn.length_is_varint) {
            drawn.length_bytes = one_of<unsigned>({1, 2, 3, 4, 8});
            drawn.length_order = flip() ? ByteOrder::little : ByteOrder::big;
        }
        drawn.length_counts = one_of<LengthCounts>(
            {LengthCounts::payload, LengthCounts::from_itself, LengthCounts::whole_frame});
        drawn.length_adjust = one_of<int>({0, -1'000'000, 1'000'000});
        if (flip()) {
            drawn.magic_offset = one_of<unsigned>({0, 4});
            drawn.magic = one_of<std::string>({{"\0", 1}, "0123456789abcdef"});
        }
        if (!drawn.length_is_varint && flip()) {
            drawn.type_offset = one_of<unsigned>({28, 48});
            drawn.type_bytes = one_of<unsigned>({1, 4});
            drawn.type_order = flip() ? ByteOrder::little : ByteOrder::big;
        }
        return drawn;
    }
    // One of those built in or declared; with a max_frame of the listener's own, where it may have one.
    Framing framing_of_listener(const std::vector<Framing>& declared) {
        const std::span<const Framing> built_in = built_in_framings();
        const size_t which = random_() % (built_in.size() + declared.size());
        Framing drawn = which < built_in.size() ? built_in[which] : declared[which - built_in.size()];
        const bool may_have_own = drawn.kind != FramingKind::raw && drawn.kind != FramingKind::fixed;
        if (may_have_own && flip()) drawn.max_frame_bytes = one_of<uint64_t>({1, 1000, 1 << 30});
        return drawn;
    }
    Route route(const Framing& framing, uint32_t number) {
        Route drawn{.action = flip() ? RouteAction::echo : RouteAction::discard};
        if (framing.has_type()) drawn.types.push_back({number, number});
        if (framing.has_type() && number == 9)
            drawn.types.push_back(framing.type_bytes == 1 ? TypeRange{100, 255} : TypeRange{200, 0xEFFF});
        if (framing.kind == FramingKind::tcpd && flip()) {
            drawn.action = RouteAction::error;
            drawn.error = one_of<unsigned>({400, 401, 413, 429, 500, 503, 504});
        }
        if (drawn.action == RouteAction::discard) drawn.one_way = flip();
        return drawn;
    }
    std::vector<Route> routes(const Framing& framing) {
        std::vector<Route> drawn;
        if (framing.has_type())
            for (uint32_t number = 0; number < 10; ++number)
                if (drawn.empty() || flip()) drawn.push_back(route(framing, number));
        if (drawn.empty() || flip()) {
            drawn.push_back(route(framing, 0));
            drawn.back().types.clear();
        }
        return drawn;
    }
    Listener listener(size_t number, const Config& config) {
        Listener drawn{.name = name(number), .keepalive = keepalive()};
        drawn.listen = *Address::parse_listen("*:" + std::to_string(7000 + number));
        if (flip()) drawn.listen.push_back(*Address::parse("127.0.0.1:0", true));
        if (flip()) {
            drawn.listen.push_back(*Address::parse("unix:/s" + std::to_string(number), false));
            drawn.unix_socket = {one_of<std::optional<unsigned>>({{}, 0U, 0660U, 0777U}), flip() ? "me" : "",
                                 flip() ? "us" : ""};
        }
        drawn.backlog = flip() ? 1 : 65535;
        drawn.freebind = flip();
        drawn.framing = framing_of_listener(config.framings);
        const bool has_frames = drawn.framing.kind != FramingKind::raw;
        if (has_frames) drawn.timeouts.frame = duration();
        if (drawn.framing.kind == FramingKind::tcpd) {
            drawn.heartbeat = {std::min<Duration>(duration(), std::chrono::hours{30}),
                               one_of<unsigned>({1, 255})};
            if (flip()) drawn.auth = {true, "/etc/tcpd/tokens", {kToken}};
        }
        if (drawn.auth.by_token) drawn.timeouts.auth = duration();
        drawn.timeouts.idle = duration();
        drawn.timeouts.half_close = duration();
        drawn.timeouts.closing = duration();
        drawn.timeouts.slow_reader = duration();
        drawn.limits.connections = one_of<uint64_t>({0, 1, 0xffffffff});
        drawn.limits.connections_per_ip = one_of<uint64_t>({0, 7, 0xffffffff});
        drawn.limits.accept_rate = rate();
        if (has_frames) drawn.limits.message_rate = rate();
        drawn.limits.output_high_bytes = one_of<uint64_t>({64 * 1024, 100'000, 1 << 30});
        drawn.limits.output_low_bytes = one_of<uint64_t>({1, 1025, 64 * 1024});
        drawn.handler.kind = one_of<HandlerKind>({HandlerKind::echo, HandlerKind::discard});
        const size_t upstreams = config.upstreams.size();
        const std::string& replies = drawn.framing.replies;
        if (!replies.empty() && replies != drawn.framing.name) {
            drawn.replies = *find_framing(replies, config.framings);
            drawn.replies->replies.clear();
        }
        if (upstreams > 0 && (drawn.replies || flip()))
            drawn.handler = {HandlerKind::proxy, random_() % upstreams, {}};
        else if (has_frames && flip())
            drawn.handler = {HandlerKind::routes, 0, routes(drawn.framing)};
        return drawn;
    }

    std::mt19937_64 random_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_dump)

BOOST_AUTO_TEST_CASE(what_is_dumped_reads_back_as_the_same) {
    for (uint64_t seed = 0; seed < 500; ++seed) {
        const Config config = Dice(seed).config();
        const std::string text = dump(config);
        const Loaded loaded = load_with_tokens(text);
        BOOST_TEST_CONTEXT("seed " << seed << "\n" << text) {
            BOOST_REQUIRE(problems_of(loaded) == "");
            BOOST_REQUIRE((loaded.config == config));
        }
    }
}

BOOST_AUTO_TEST_CASE(the_smallest_in_full) {
    const std::string text = dump(load_text(with_listener(kFine)).config);
    BOOST_TEST(text.starts_with(
        "# /etc/tcpd/tcpd.yaml, in full\n\n"
        "workers: auto                                 # worker processes; auto: one for each "
        "CPU that tcpd may use\n\n"
        "# user: absent                                # uid and groups"));
    BOOST_TEST(text.find("\n    backlog: 4096 ") != std::string::npos);
    BOOST_TEST(text.find("\n      half_close: 30s ") != std::string::npos);
    BOOST_TEST(text.ends_with(
        "\nupstreams: {}                                 # where the proxy dials to, by name\n"));
}

// Other readers of YAML take a bare 9 for a number.
BOOST_AUTO_TEST_CASE(names_are_bare_only_where_they_are_text) {
    const std::string text = dump(load_text(R"(
listeners: {"9": {listen: unix:/9, handler: echo}, "Null": {listen: unix:/n, handler: echo}, nil: {listen: unix:/i, handler: echo}}
)")
                                      .config);
    BOOST_TEST(text.find("\n  \"9\":") != std::string::npos);
    BOOST_TEST(text.find("\n  \"Null\":") != std::string::npos);
    BOOST_TEST(text.find("\n  nil:") != std::string::npos);
}

// Written as two, both would have to be there.
BOOST_AUTO_TEST_CASE(a_star_stays_one) {
    const std::string text =
        dump(load_text("listeners: {a: {listen: ['*:7000', '0.0.0.0:7001', '[::]:7001'], handler: echo}}\n")
                 .config);
    BOOST_TEST(text.find(R"(listen: ["*:7000", "0.0.0.0:7001", "[::]:7001"])") != std::string::npos);
}

// Every row that is a value, `include` excepted, whose files' content is in the dump.
BOOST_AUTO_TEST_CASE(every_row_of_the_grammar_is_in_it) {
    const std::string text = dump(load_with_tokens(R"(
workers: 1
listeners:
  a: {listen: unix:s, unix: {mode: "0600"}, handler: {proxy: u}}
  b:
    listen: 127.0.0.1:1
    framing: tcpd
    auth: {methods: token, tokens: tokens}
    handler: {routes: [{types: 1, handler: discard}, {default: true, error: 400}]}
upstreams: {u: {servers: 10.0.0.1:1}}
framings: {f: {magic: {offset: 4, bytes: AA}, type: {offset: 5, size: 1}, length: {size: 4}}}
)")
                                      .config);
    for (const Row& row : grammar()) {
        if (row.key() == "include" || row.key() == "NAME") continue;
        BOOST_TEST(text.find(std::string(row.key()) + ":") != std::string::npos, row.path);
    }
}

BOOST_AUTO_TEST_SUITE_END()
