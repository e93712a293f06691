// What is wrong with keys, names and with how the parts fit together; texts and places.

#include <boost/test/unit_test.hpp>

#include "tests/unit/conf/loading.h"

using namespace tcpd::conf;
using namespace tcpd::conf::test;

BOOST_AUTO_TEST_SUITE(conf_problem)

BOOST_AUTO_TEST_CASE(a_problem_as_text) {
    BOOST_TEST((Problem{"/x", 3, 4, "a.b", "is bad"}.text()) == "/x:3:4: a.b: is bad");
    BOOST_TEST((Problem{"/x", 3, 4, "", "is bad"}.text()) == "/x:3:4: is bad");
    BOOST_TEST((Problem{"/x", 0, 0, "", "is bad"}.text()) == "/x: is bad");
}

BOOST_AUTO_TEST_CASE(all_problems_in_one_run_in_the_order_of_lines) {
    BOOST_TEST(problems_in(R"(workers: 300
drian: {stop: 5m}
listeners:
  gateway:
    listen: ["*:7000", "0.0.0.0:70000"]
    handler: {proxi: db}
    timeouts: {idel: 3s, outh: 5s, closing: 30}
    idle: 3s
  b:
    listen: "[::]:7000"
    handler: {proxy: db}
  b c: {}
upstreams:
  db1: {servers: "10.0.0.1:0"}
)") == R"(tcpd.yaml:1:10: workers: "300" is out of range (auto, or 1 to 256)
tcpd.yaml:2:1: drian: unknown key (did you mean drain?)
tcpd.yaml:5:24: listeners.gateway.listen[1]: port 70000 is over 65535
tcpd.yaml:6:15: listeners.gateway.handler.proxi: unknown key (did you mean proxy?)
tcpd.yaml:7:16: listeners.gateway.timeouts.idel: unknown key (did you mean idle?)
tcpd.yaml:7:26: listeners.gateway.timeouts.outh: unknown key (did you mean auth?)
tcpd.yaml:7:45: listeners.gateway.timeouts.closing: "30" has no unit (try 30s)
tcpd.yaml:8:5: listeners.gateway.idle: unknown key (did you mean keepalive.idle or timeouts.idle?)
tcpd.yaml:10:13: listeners.b.listen: [::]:7000 is taken by listener "gateway" already ([::]:7000 at tcpd.yaml:5:14)
tcpd.yaml:11:22: listeners.b.handler.proxy: there is no upstream "db" (did you mean db1?)
tcpd.yaml:12:3: listeners."b c": is no name (1 to 63 of a-z, A-Z, 0-9, _ . -)
tcpd.yaml:14:18: upstreams.db1.servers: port 0 means nothing here (use 1 to 65535)
)");
}

BOOST_AUTO_TEST_CASE(unknown_keys) {
    const auto key = [](const std::string& text) {
        const std::string problems = problems_in(with_listener(kFine, text));
        const size_t begin = problems.find(": ", problems.find(": ") + 2) + 2;
        return problems.substr(std::min(begin, problems.size()));
    };
    BOOST_TEST(key("tls: {}") ==
               "unknown key (known: workers, user, pid_file, include, drain, log, supervisor, "
               "memory, framings, listeners, upstreams)\n");
    BOOST_TEST(key("level: info") == "unknown key (did you mean log.level?)\n");
    BOOST_TEST(key("drain: {restart: 10m}") == "unknown key (known: stop, replaced, spread)\n");
    BOOST_TEST(key("drain: {drain: {}}") == "unknown key (known: stop, replaced, spread)\n");
    BOOST_TEST(key("log: {stop: 1s}") == "unknown key (did you mean drain.stop?)\n");
    BOOST_TEST(key("supervisor: {initial: 1s}") == "unknown key (did you mean respawn.initial?)\n");
    BOOST_TEST(key("listeners.a: {}") == "unknown key (did you mean listeners?)\n");
    BOOST_TEST(key("upstreams: {u: {servers: 10.0.0.1:1, NAME: {}}}") ==
               "unknown key (known: servers, balance, keepalive, timeouts)\n");
    BOOST_TEST(key("log: {<<: {level: info}}") ==
               "unknown key (YAML's merge is not supported; an alias can stand for a whole value)\n");
    BOOST_TEST(
        problems_in(with_listener(kFine, "\"a\\0\\x1b\": 1\n? {}\n: 1\n~: 1\n")) ==
        "tcpd.yaml:2:1: \"a\\x00\\x1b\": unknown key (known: workers, user, pid_file, include, drain, log, "
        "supervisor, memory, framings, listeners, upstreams)\n"
        "tcpd.yaml:3:3: a key is plain text, not a map\n"
        "tcpd.yaml:5:1: a key is plain text, not nothing\n");
}

BOOST_AUTO_TEST_CASE(values_of_the_wrong_shape) {
    BOOST_TEST(problems_in("workers: [1]\ndrain: 5s\nlog:\nuser: {a: b}\nlisteners: [a]\nupstreams: x\n") ==
               R"(tcpd.yaml:1:10: workers: needs one value, not a list
tcpd.yaml:2:8: drain: needs a map of keys, not a single value
tcpd.yaml:3:1: log: has no value (leave the key out, or give it one)
tcpd.yaml:4:7: user: needs one value, not a map
tcpd.yaml:5:12: listeners: needs a map of names (NAME: {...}), not a list
tcpd.yaml:6:12: upstreams: needs a map of names (NAME: {...}), not a single value
)");
    BOOST_TEST(problems_in("listeners: {a: , b: [], c: ~}") ==
               R"(tcpd.yaml:1:13: listeners.a: has no value (leave the key out, or give it one)
tcpd.yaml:1:21: listeners.b: needs a map of keys, not a list
tcpd.yaml:1:25: listeners.c: has no value (leave the key out, or give it one)
)");
    BOOST_TEST(problems_in(with_listener(kFine, "user: \"a\\nb\"\n")) ==
               "tcpd.yaml:2:7: user: has a control character in it\n");
}

BOOST_AUTO_TEST_CASE(what_must_be_there) {
    const std::string none =
        "listeners: no listeners are declared (at least one: listeners: {NAME: {listen: \"127.0.0.1:7000\", "
        "handler: echo}})\n";
    for (const char* text : {"", "\n", "# nothing\n", "---\n", "~", "workers: 1\n"})
        BOOST_TEST(problems_in(text) == "tcpd.yaml: " + none, text);
    BOOST_TEST(problems_in("\nlisteners: {}") == "tcpd.yaml:2:1: " + none);
    BOOST_TEST(
        problems_in("listeners: {a: {}}\nupstreams: {u: {}}") ==
        R"(tcpd.yaml:1:13: listeners.a.listen: is missing (an address such as 127.0.0.1:7000 or unix:/run/x.sock, or a list of them)
tcpd.yaml:1:13: listeners.a.handler: is missing (echo, discard, {proxy: UPSTREAM} or {routes: [...]})
tcpd.yaml:2:13: upstreams.u.servers: is missing (an address such as 10.0.0.5:5432 or unix:/run/x.sock, or a list of them)
)");
}

BOOST_AUTO_TEST_CASE(names) {
    const std::string longest(63, 'x');
    BOOST_TEST(problems_in("listeners: {" + longest + ": {" + kFine +
                           "}, a.b_C-9: {listen: unix:s, handler: echo}}") == "");
    BOOST_TEST(problems_in("listeners: {" + longest + "x: {" + kFine + "}, é: {}, '': {}, a/b: {}}") ==
               "tcpd.yaml:1:13: listeners." + longest + "x: is no name (1 to 63 of a-z, A-Z, 0-9, _ . -)\n" +
                   "tcpd.yaml:1:120: listeners.\"é\": is no name (1 to 63 of a-z, A-Z, 0-9, _ . -)\n"
                   "tcpd.yaml:1:128: listeners.\"\": is no name (1 to 63 of a-z, A-Z, 0-9, _ . -)\n"
                   "tcpd.yaml:1:136: listeners.\"a/b\": is no name (1 to 63 of a-z, A-Z, 0-9, _ . -)\n");
    BOOST_TEST(problems_in("listeners: {a.b: {listen: 127.0.0.1:1, handler: ech}}") ==
               "tcpd.yaml:1:49: listeners.\"a.b\".handler: \"ech\" is not known (did you mean echo?)\n");
}

BOOST_AUTO_TEST_CASE(no_more_names_than_slot_memory_has_numbers_for) {
    std::string text = "listeners:\n";
    for (int at = 0; at < 257; ++at)
        text += "  l" + std::to_string(at) + ": {listen: 127.0.0.1:" + std::to_string(at + 1) +
                ", handler: echo}\n";
    BOOST_TEST(problems_in(text) == "tcpd.yaml:258:3: listeners.l256: is one too many (at most 256)\n");
}

BOOST_AUTO_TEST_CASE(keys_that_are_there_twice) {
    BOOST_TEST(
        problems_in(
            "workers: 1\nworkers: 2\nlisteners:\n  a: {" + kFine + "}\n  a: {" + kFine +
            ", backlog: x}\nlisteners: {b: {listen: 127.0.0.1:1, listen: 127.0.0.1:2, handler: echo}}\n") ==
        R"(tcpd.yaml:2:1: workers: is there twice (first at tcpd.yaml:1:1)
tcpd.yaml:5:3: listeners.a: is there twice (first at tcpd.yaml:4:3)
tcpd.yaml:5:55: listeners.a.backlog: "x" is not a whole number (1 to 65535)
tcpd.yaml:6:1: listeners: is there twice (first at tcpd.yaml:3:1)
tcpd.yaml:6:38: listeners.b.listen: is there twice (first at tcpd.yaml:6:17)
)");
}

BOOST_AUTO_TEST_CASE(addresses_that_exclude_each_other) {
    const auto overlap = [](const std::string& first, const std::string& second) {
        return problems_in("listeners:\n  a: {handler: echo, listen: [" + first +
                           "]}\n  b: {handler: echo, listen: [" + second + "]}\n");
    };
    BOOST_TEST(overlap("127.0.0.1:1", "127.0.0.1:1") ==
               "tcpd.yaml:3:31: listeners.b.listen[0]: 127.0.0.1:1 is taken by listener \"a\" already "
               "(127.0.0.1:1 at "
               "tcpd.yaml:2:31)\n");
    BOOST_TEST(
        overlap("127.0.0.1:1", "'*:1'") ==
        "tcpd.yaml:3:31: listeners.b.listen[0]: 0.0.0.0:1 is taken by listener \"a\" already (127.0.0.1:1 at "
        "tcpd.yaml:2:31)\n");
    BOOST_TEST(overlap("unix:x/../s", "unix:/etc/./tcpd/s") ==
               "tcpd.yaml:3:31: listeners.b.listen[0]: unix:s is taken by listener \"a\" already (unix:s at "
               "tcpd.yaml:2:31)\n");
    BOOST_TEST(overlap("127.0.0.1:1, 127.0.0.1:1", "127.0.0.1:2") ==
               "tcpd.yaml:2:44: listeners.a.listen[1]: 127.0.0.1:1 is taken by this listener already "
               "(127.0.0.1:1 at "
               "tcpd.yaml:2:31)\n");
    BOOST_TEST(overlap("127.0.0.1:1-9", "'*:4-20'") ==
               "tcpd.yaml:3:31: listeners.b.listen[0]: 0.0.0.0:4 is taken by listener \"a\" already "
               "(127.0.0.1:4 at tcpd.yaml:2:31)\n");
    BOOST_TEST(overlap("127.0.0.1:0, 0.0.0.0:2, unix:a", "127.0.0.1:0, '[::]:2', unix:b") == "");
}

BOOST_AUTO_TEST_CASE(upstreams_that_are_not_there) {
    const std::string proxy = with_listener("listen: 127.0.0.1:1, handler: {proxy: back}");
    BOOST_TEST(
        problems_in(proxy) ==
        "tcpd.yaml:1:55: listeners.a.handler.proxy: there is no upstream \"back\" (none is declared under "
        "upstreams)\n");
    BOOST_TEST(
        problems_in(proxy + "upstreams: {bakc: {servers: 10.0.0.1:1}}") ==
        "tcpd.yaml:1:55: listeners.a.handler.proxy: there is no upstream \"back\" (did you mean bakc?)\n");
    BOOST_TEST(problems_in(proxy + "upstreams: {other: {servers: 10.0.0.1:1}}") ==
               "tcpd.yaml:1:55: listeners.a.handler.proxy: there is no upstream \"back\" (declare it under "
               "upstreams)\n");
}

BOOST_AUTO_TEST_CASE(values_that_do_not_go_together) {
    BOOST_TEST(
        problems_in(with_listener(kFine + ", limits: {output_low: 2KiB, output_high: 1KiB}")) ==
        "tcpd.yaml:1:65: listeners.a.limits.output_low: output_low (2KiB) is above output_high (1KiB)\n");
    BOOST_TEST(problems_in(with_listener(kFine + ", limits: {output_high: 1KiB}")) ==
               "tcpd.yaml:1:65: listeners.a.limits.output_high: output_low (64KiB, its default) is above "
               "output_high "
               "(1KiB)\n");
    BOOST_TEST(problems_in(with_listener(
                   kFine + ", keepalive: {idle: 32767s, interval: 32767s, probes: 127}")) == "");
    BOOST_TEST(
        problems_in(with_listener(kFine + ", framing: tcpd, heartbeat: {interval: 8760h, misses: 1}")) ==
        "tcpd.yaml:1:71: listeners.a.heartbeat: interval * (misses + 1) is 17520h (at most 8760h), the time "
        "to "
        "notice a loss\n");
    BOOST_TEST(problems_in(with_listener(kFine + ", unix: {mode: \"0660\"}")) ==
               "tcpd.yaml:1:56: listeners.a.unix: this listener has no unix socket (listen: unix:PATH)\n");
    BOOST_TEST(problems_in(with_listener(kFine, "supervisor: {respawn: {initial: 1m}}")) ==
               "tcpd.yaml:2:14: supervisor.respawn: initial (1m) is above max (30s)\n");
}

BOOST_AUTO_TEST_CASE(clients_of_a_unix_socket_have_no_address) {
    const std::string keys =
        ", handler: echo, allow: 10.0.0.0/8, deny: 10.1.0.0/16, "
        "limits: {connections_per_ip: 3}";
    const std::string why =
        "clients of a unix socket have no address, and this listener has no other socket "
        "(listen: IPV4:PORT, [IPV6]:PORT or *:PORT)";
    BOOST_TEST(complaints_in(with_listener("listen: [unix:/a, unix:/b]" + keys)) ==
               "listeners.a.allow: " + why + "; listeners.a.deny: " + why +
                   "; listeners.a.limits.connections_per_ip: " + why);
    BOOST_TEST(complaints_in(with_listener("listen: unix:/a, handler: echo, allow: [], "
                                           "limits: {connections_per_ip: 0}")) == "");
    for (const std::string listen : {"127.0.0.1:7000", "systemd:x"}) {
        const Loaded loaded = load_text(with_listener("listen: '" + listen + "'" + keys));
        BOOST_TEST(problems_of(loaded) == "");
        BOOST_TEST(loaded.warnings.empty());
    }
    const Loaded some =
        load_text(with_listener("listen: [unix:/a, 127.0.0.1:7000], handler: echo, "
                                "deny: 10.1.0.0/16"));
    BOOST_TEST(problems_of(some) == "");
    BOOST_REQUIRE(some.warnings.size() == 1U);
    BOOST_TEST(some.warnings[0] ==
               kMain +
                   ":1:67: warning: listeners.a.deny: does not hold for this listener's unix sockets, "
                   "whose clients have no address");
}

BOOST_AUTO_TEST_CASE(freebind_is_for_addresses_of_our_own) {
    const auto problems = [](const std::string& listen) {
        return problems_in("listeners: {a: {freebind: true, listen: " + listen + ", handler: echo}}\n");
    };
    for (const char* fine : {"192.0.2.1:1", "'[2001:db8::1]:1'", "'*:1'", "[unix:/s, 192.0.2.1:1]"})
        BOOST_TEST(problems(fine) == "");
    for (const char* senseless : {"unix:/s", "systemd:web", "[unix:/s, systemd:web]"})
        BOOST_TEST(problems(senseless) ==
                   "tcpd.yaml:1:17: listeners.a.freebind: goes with IPV4:PORT and [IPV6]:PORT only (leave it "
                   "out)\n");
}

BOOST_AUTO_TEST_CASE(addresses_are_counted_over_all_listeners) {
    const auto problems = [](int listeners) {
        std::string text = "listeners:\n";
        for (int i = 0; i < listeners; ++i) {
            text += "  l" + std::to_string(i) + ": {handler: echo, listen: [127.0.0.1:0";
            for (int k = 1; k < 64; ++k) text += ", 127.0.0.1:0";
            text += "]}\n";
        }
        return problems_in(text);
    };
    BOOST_TEST(problems(64) == "");
    BOOST_TEST(
        problems(65).ends_with("listeners.l64.listen[0]: 4160 addresses are too many for all listeners "
                               "together (at most 4096; *:PORT "
                               "is two)\n"));
}

// What comes back to where it came from would never end.
BOOST_AUTO_TEST_CASE(a_proxy_that_dials_itself) {
    const auto loops = [](const std::string& listeners, const std::string& upstreams) {
        const std::string problems = problems_in("listeners:\n" + listeners + "upstreams:\n" + upstreams);
        return static_cast<int>(problems.find("passed on without end") != problems.npos);
    };
    const std::string a = "  a: {listen: 127.0.0.1:1000, handler: {proxy: u}}\n";
    const std::string wild = "  a: {listen: \"*:1000\", handler: {proxy: u}}\n";
    const std::string unix_a = "  a: {listen: unix:/x/s, handler: {proxy: u}}\n";
    const std::string b = "  b: {listen: 127.0.0.1:1001, handler: {proxy: v}}\n";
    const std::string echo = "  b: {listen: 127.0.0.1:1001, handler: echo}\n";
    BOOST_TEST(problems_in("listeners:\n" + a + "upstreams: {u: {servers: 127.0.0.1:1000}}\n") ==
               "tcpd.yaml:2:31: listeners.a.handler: server 127.0.0.1:1000 of upstream \"u\" is this "
               "listener itself: a "
               "client would be passed on without end (change the server, or what is listened on)\n");
    BOOST_TEST(loops(a, "  u: {servers: [10.0.0.1:1, 127.0.0.1:1000]}\n"));
    BOOST_TEST(loops(wild, "  u: {servers: 127.0.0.2:1000}\n"));
    BOOST_TEST(loops(wild, "  u: {servers: \"[::1]:1000\"}\n"));
    BOOST_TEST(loops(unix_a, "  u: {servers: unix:/x/s}\n"));
    BOOST_TEST(loops(a + b, "  u: {servers: 127.0.0.1:1001}\n  v: {servers: 127.0.0.1:1000}\n"));
    BOOST_TEST(!loops(a + echo, "  u: {servers: 127.0.0.1:1001}\n"));
    BOOST_TEST(!loops(a + b, "  u: {servers: 127.0.0.1:1001}\n  v: {servers: 127.0.0.1:1002}\n"));
    BOOST_TEST(!loops(wild, "  u: {servers: 10.0.0.1:1000}\n"));
    BOOST_TEST(!loops(a, "  u: {servers: 127.0.0.2:1000}\n"));
}

BOOST_AUTO_TEST_SUITE_END()
