#include <boost/test/unit_test.hpp>

#include "tests/unit/conf/loading.h"

using namespace tcpd;
using namespace tcpd::conf;
using namespace tcpd::conf::test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(conf_load)

BOOST_AUTO_TEST_CASE(every_key_reaches_its_member) {
    const Loaded loaded = load_text(R"(
workers: 3
user: www-data
pid_file: run/tcpd.pid
drain: {stop: 45s, replaced: 3m, spread: false}
log: {level: warn, format: json, output: log/tcpd.log}
supervisor: {respawn: {initial: 200ms, max: 1m}, watchdog: 0}
memory: {worker: 1MiB, total: 2GiB}
listeners:
  gateway:
    listen: ["10.0.0.1:0x0", "*:80"]
)");
    BOOST_TEST(
        problems_of(loaded) ==
        R"(tcpd.yaml:10:3: listeners.gateway.handler: is missing (echo, discard, {proxy: UPSTREAM} or {routes: [...]})
tcpd.yaml:11:14: listeners.gateway.listen[0]: port "0x0" is not a number (try 10.0.0.1:7000)
)");
    const Config& config = loaded.config;
    BOOST_TEST(config.path == kMain);
    BOOST_TEST(*config.workers == 3U);
    BOOST_TEST(config.worker_count() == 3U);
    BOOST_TEST(config.user == "www-data");
    BOOST_TEST(config.pid_file == "/etc/tcpd/run/tcpd.pid");
    BOOST_TEST((config.drain == Drain{45s, 3min, false}));
    BOOST_TEST((config.log == Log{log::Level::warn, log::Format::json, "/etc/tcpd/log/tcpd.log"}));
    BOOST_TEST((config.supervisor == Supervisor{200ms, 1min, 0s}));
    BOOST_TEST((config.memory == Memory{1 << 20, 2ULL << 30}));
}

BOOST_AUTO_TEST_CASE(every_key_of_a_listener_reaches_its_member) {
    const Loaded loaded = load_text(R"(
listeners:
  gateway:
    listen: ["*:80", "[::1]:0", unix:a.sock]
    unix: {mode: "0640", owner: tcpd, group: www-data}
    backlog: 128
    keepalive: {idle: 2m, interval: 5s, probes: 3}
    timeouts: {idle: 1h, half_close: 1ms, closing: 2s, slow_reader: 0}
    limits: {connections: 0x10, connections_per_ip: 2, accept_rate: 9/m, output_high: 1MiB, output_low: 512B}
    handler: {proxy: second}
  plain: {listen: 127.0.0.1:7000, handler: discard}
upstreams:
  first: {servers: [10.0.0.1:1]}
  second:
    servers: ["[::1]:5432", unix:../db.sock]
    balance: round_robin
    keepalive: {idle: 1s, interval: 1s, probes: 1}
    timeouts: {dial: 500ms}
)");
    BOOST_TEST(problems_of(loaded) == "");
    BOOST_REQUIRE(loaded.config.listeners.size() == 2);
    BOOST_REQUIRE(loaded.config.upstreams.size() == 2);
    const Listener& gateway = loaded.config.listeners[0];
    std::string listen;
    for (const Address& address : gateway.listen) listen += address.text() + " ";
    BOOST_TEST(listen == "0.0.0.0:80 [::]:80 [::1]:0 unix:/etc/tcpd/a.sock ");
    BOOST_TEST((gateway.unix_socket == UnixSocket{0640U, "tcpd", "www-data"}));
    BOOST_TEST(gateway.backlog == 128U);
    BOOST_TEST((gateway.keepalive == Keepalive{2min, 5s, 3}));
    BOOST_TEST((gateway.timeouts == ListenerTimeouts{5s, 1h, 1ms, 2s, 0s, 60s}));
    BOOST_TEST((gateway.limits == Limits{.connections = 16,
                                         .connections_per_ip = 2,
                                         .accept_rate = {9, 1min},
                                         .output_high_bytes = 1024 * 1024,
                                         .output_low_bytes = 512}));
    BOOST_TEST((gateway.handler == Handler{HandlerKind::proxy, 1}));
    const Upstream& second = loaded.config.upstreams[1];
    BOOST_TEST(second.servers[1].text() == "unix:/etc/db.sock");
    BOOST_TEST((second.keepalive == Keepalive{1s, 1s, 1}));
    BOOST_TEST((second.dial_timeout == 500ms));
}

BOOST_AUTO_TEST_CASE(what_is_absent_has_its_default) {
    const Loaded loaded = load_text(with_listener(kFine));
    BOOST_TEST(problems_of(loaded) == "");
    Config expected{.path = kMain};
    expected.listeners.push_back({.name = "a", .listen = {*Address::parse("127.0.0.1:7000", false)}});
    BOOST_TEST((loaded.config == expected));
    BOOST_TEST(!loaded.config.workers.has_value());
    BOOST_TEST(loaded.config.worker_count() >= 1U);
}

// As the manual promises them.
BOOST_AUTO_TEST_CASE(the_defaults) {
    const std::string text = dump(
        load_text(with_listener("listen: unix:/s, handler: {proxy: u}", "upstreams: {u: {servers: unix:/u}}"))
            .config);
    for (const char* line : {"workers: auto",           "# user: absent",
                             "# pid_file: absent",      "  stop: 30s",
                             "  spread: true",          "  level: info",
                             "  format: text",          "  output: stderr",
                             "    initial: 100ms",      "    max: 30s",
                             "  watchdog: 10s",         "  worker: 0",
                             "  total: auto",           "    backlog: 4096",
                             "    framing: raw",        "      idle: 1m",
                             "      interval: 10s",     "      probes: 6",
                             "      idle: 0",           "      half_close: 30s",
                             "      closing: 30s",      "      slow_reader: 1m",
                             "      connections: 0",    "      connections_per_ip: 0",
                             "      accept_rate: 0",    "      output_high: 256KiB",
                             "      output_low: 64KiB", "    balance: round_robin",
                             "      dial: 2s"})
        BOOST_TEST(text.find("\n" + std::string(line) + " ") != std::string::npos, line);
}

BOOST_AUTO_TEST_CASE(quotes_and_escapes_do_not_matter) {
    BOOST_TEST(problems_in("\"workers\": \"4\"\n'drain': {stop: '5s', \"spread\": \"\\x66alse\"}\n" +
                           with_listener(kFine)) == "");
}

BOOST_AUTO_TEST_CASE(an_alias_stands_for_a_whole_value) {
    const Loaded loaded = load_text(R"(
listeners:
  a: {listen: 127.0.0.1:1, handler: echo, timeouts: &slow {idle: 5s}}
  b: {listen: 127.0.0.1:2, handler: echo, timeouts: *slow}
)");
    BOOST_TEST(problems_of(loaded) == "");
    BOOST_TEST((loaded.config.listeners[1].timeouts.idle == 5s));
}

BOOST_AUTO_TEST_CASE(byte_order_mark_crlf_and_document_marks_are_fine) {
    BOOST_TEST(
        problems_in("\xef\xbb\xbf%YAML 1.2\r\n---\r\nlisteners:\r\n  a: {listen: 127.0.0.1:1, handler: "
                    "\"echo\"}\r\n...\r\n") == "");
}

BOOST_AUTO_TEST_CASE(included_files_add_names_in_order) {
    const Loaded loaded =
        load_snapshot(snapshot_of({{"tcpd.yaml",
                                    "include: [z.yaml, conf.d/*.yaml, z.yaml]\nlisteners: {a: {listen: "
                                    "unix:s, handler: {proxy: u}}}\n"},
                                   {"z.yaml", "listeners: {z: {listen: 127.0.0.1:3, handler: echo}}"},
                                   {"conf.d/1.yaml", "listeners: {c: {listen: unix:s, handler: echo}}"},
                                   {"conf.d/2.yaml", "# nothing yet\n"},
                                   {"conf.d/3.yaml", "upstreams: {u: {servers: unix:s}}"}},
                                  {{"conf.d/*.yaml", {"conf.d/1.yaml", "conf.d/2.yaml", "conf.d/3.yaml"}}}));
    BOOST_TEST(problems_of(loaded) == "");
    std::string names;
    for (const Listener& listener : loaded.config.listeners)
        names += listener.name + listener.listen[0].text() + " ";
    BOOST_TEST(names == "aunix:/etc/tcpd/s z127.0.0.1:3 cunix:/etc/tcpd/conf.d/s ");
    BOOST_TEST(loaded.config.upstreams[0].servers[0].text() == "unix:/etc/tcpd/conf.d/s");
}

BOOST_AUTO_TEST_CASE(a_pattern_may_match_nothing) {
    BOOST_TEST(problems_of(load_snapshot(snapshot_of(
                   {{"tcpd.yaml", "include: '*.d/*'\n" + with_listener(kFine)}}, {{"*.d/*", {}}}))) == "");
}

BOOST_AUTO_TEST_CASE(what_inclusion_refuses) {
    const Loaded loaded = load_snapshot(snapshot_of(
        {{"tcpd.yaml",
          "include: [none.yaml, ./tcpd.yaml, '*.yaml', {}, '', \"a\\0\"]\n" + with_listener(kFine)},
         {"a.yaml",
          "workers: 3\ninclude: b.yaml\nwrkers: 3\nlisteners:\n  a: {listen: 127.0.0.1:7000, handler: "
          "eco}\n"},
         {"b.yaml", "- x"},
         {"c.yaml", "a: [\n"}},
        {{"*.yaml", {"a.yaml", "b.yaml", "c.yaml", "tcpd.yaml"}}}));
    BOOST_TEST(problems_of(loaded) ==
               R"(tcpd.yaml:1:11: include[0]: "none.yaml" cannot be read: it is not in the bundle
tcpd.yaml:1:22: include[1]: names the file that it stands in: an include loop
tcpd.yaml:1:35: include[2]: names the file that it stands in: an include loop
tcpd.yaml:1:45: include[3]: needs a file or a pattern (conf.d/*.yaml), not a map
tcpd.yaml:1:49: include[4]: is empty (a file or a pattern is needed)
tcpd.yaml:1:53: include[5]: has a control character in it
a.yaml:1:1: workers: belongs into the main file (an included one holds only listeners, upstreams and framings)
a.yaml:2:1: include: belongs into the main file (an included one holds only listeners, upstreams and framings)
a.yaml:3:1: wrkers: unknown key (did you mean workers?)
a.yaml:5:3: listeners.a: is there already, at tcpd.yaml:2:13 (an included file adds names, it replaces none)
a.yaml:5:40: listeners.a.handler: "eco" is not known (did you mean echo?)
b.yaml:1:1: a file is a map of keys (listeners: ...), not a list
c.yaml:2:1: a [ is not closed, or something in it is out of place
)");
}

// What is missing may be in the file that could not be read.
BOOST_AUTO_TEST_CASE(nothing_is_called_missing_while_a_file_is_unread) {
    BOOST_TEST(
        problems_of(load_snapshot(snapshot_of({{"tcpd.yaml", "include: a.yaml\n"}, {"a.yaml", "["}}))) ==
        "a.yaml:1:1: a [ is not closed, or something in it is out of place\n");
    BOOST_TEST(
        problems_of(load_snapshot(snapshot_of(
            {{"tcpd.yaml", "include: b.yaml\n" + with_listener("listen: unix:/s, handler: {proxy: u}")}}))) ==
        "tcpd.yaml:1:10: include: \"b.yaml\" cannot be read: it is not in the bundle\n");
}

BOOST_AUTO_TEST_CASE(a_main_file_that_is_not_there) {
    BOOST_TEST(problems_of(load_snapshot({})) == "tcpd.yaml: cannot be read: it is not in the bundle\n");
}

BOOST_AUTO_TEST_SUITE_END()
