// Each kind of value: what it takes, and what it says of what it does not take.

#include <boost/test/unit_test.hpp>

#include "tests/unit/conf/loading.h"

using namespace tcpd::conf::test;

namespace {

// The complaint about one value at the top; the place and key, which are always the same, left out.
std::string complaint(const std::string& key_and_value) {
    const std::string text = problems_in("{" + key_and_value + ", " + with_listener(kFine) + "}");
    const std::string start = "tcpd.yaml:1:" + std::to_string(key_and_value.find(": ") + 4) + ": ";
    const std::string key = key_and_value.substr(0, key_and_value.find(':')) + ": ";
    if (text.empty()) return "fine";
    BOOST_TEST(text.starts_with(start + key));
    return text.substr(start.size() + key.size(), text.size() - start.size() - key.size() - 1);
}

std::string workers(const std::string& value) { return complaint("workers: " + value); }

// The same of a key inside of the listener.
std::string in_listener(const std::string& section, const std::string& key, const std::string& value) {
    const std::string text =
        problems_in(with_listener(kFine + ", " + section + ": {" + key + ": " + value + "}"));
    const std::string path = ": listeners.a." + section + "." + key + ": ";
    if (text.empty()) return "fine";
    BOOST_REQUIRE(text.find(path) != std::string::npos);
    const size_t begin = text.find(path) + path.size();
    return text.substr(begin, text.find('\n', begin) - begin);
}

std::string idle(const std::string& value) { return in_listener("timeouts", "idle", value); }
std::string high(const std::string& value) { return in_listener("limits", "output_high", value); }

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_value)

BOOST_AUTO_TEST_CASE(numbers) {
    for (const char* fine : {"auto", "1", "256", "0x10", "\"4\""}) BOOST_TEST(workers(fine) == "fine", fine);
    BOOST_TEST(workers("0") == "\"0\" is out of range (auto, or 1 to 256)");
    BOOST_TEST(workers("257") == "\"257\" is out of range (auto, or 1 to 256)");
    BOOST_TEST(workers("010") == "\"010\" begins with 0, which could mean octal (write it without)");
    BOOST_TEST(workers("00") == "\"00\" begins with 0, which could mean octal (write it without)");
    BOOST_TEST(workers("99999999999999999999") ==
               "\"99999999999999999999\" is out of range (auto, or 1 to 256)");
    for (const std::string odd :
         {"1e3", ".nan", ".inf", "-1", "+1", "1.0", "0x", "0xg", "Auto", "two", "1_000", "0o7"})
        BOOST_TEST(workers(odd) == "\"" + odd + "\" is not a whole number (auto, or 1 to 256)");
    BOOST_TEST(workers("''") == "\"\" is not a whole number (auto, or 1 to 256)");
    BOOST_TEST(in_listener("limits", "connections", "4294967295") == "fine");
    BOOST_TEST(in_listener("limits", "connections", "4294967296") ==
               "\"4294967296\" is out of range (0 to 4294967295)");
    BOOST_TEST(in_listener("keepalive", "probes", "128") == "\"128\" is out of range (1 to 127)");
}

BOOST_AUTO_TEST_CASE(blocks_of_addresses) {
    const auto allow = [](const std::string& value) {
        return problems_in(with_listener(kFine + ", allow: " + value));
    };
    for (const char* fine : {"[]", "10.0.0.0/8", "[10.0.0.0/8, \"2001:db8::/32\", 192.0.2.1]"})
        BOOST_TEST(allow(fine) == "", fine);
    BOOST_TEST(allow("[10.0.0.0/8, 10.0.0.1/8]").find("listeners.a.allow[1]: \"10.0.0.1/8\" has bits set") !=
               std::string::npos);
    BOOST_TEST(allow("{}").find("listeners.a.allow: needs one value, not a map") != std::string::npos);
    const auto loaded =
        load_text(with_listener(kFine + ", allow: 10.0.0.0/8, deny: [10.1.0.0/16, \"::/0\"]"));
    const auto again = load_text(tcpd::conf::dump(loaded.config));
    BOOST_TEST(problems_of(again) == "");
    BOOST_TEST((again.config == loaded.config));
    BOOST_TEST(loaded.config.listeners[0].deny.size() == 2U);
}

BOOST_AUTO_TEST_CASE(durations) {
    for (const char* fine : {"0", "1ms", "500ms", "30s", "2m", "1h", "8760h"})
        BOOST_TEST(idle(fine) == "fine", fine);
    BOOST_TEST(idle("5 parsec") == "\"5 parsec\" is not a duration (try 5s, 500ms, 2m)");
    BOOST_TEST(idle("30") == "\"30\" has no unit (try 30s)");
    BOOST_TEST(idle("5sec") == "\"5sec\" is not a duration (try 5s)");
    BOOST_TEST(idle("5min") == "\"5min\" is not a duration (try 5m)");
    BOOST_TEST(idle("8761h") == "\"8761h\" is out of range (0, or 1ms to 8760h)");
    BOOST_TEST(idle("99999999999999999999h") ==
               "\"99999999999999999999h\" is out of range (0, or 1ms to 8760h)");
    for (const std::string odd : {"-5s", "1.5s", "05s", "5 s", ".inf", "s", "1e3s", "1h30m", "5d"})
        BOOST_TEST(idle(odd) == "\"" + odd + "\" is not a duration (try 5s, 500ms, 2m)");
    BOOST_TEST(in_listener("keepalive", "idle", "500ms") == "\"500ms\" is out of range (1s to 32767s)");
    BOOST_TEST(in_listener("keepalive", "idle", "1500ms") == "\"1500ms\" is not a multiple of 1s");
    BOOST_TEST(in_listener("keepalive", "idle", "32768s") == "\"32768s\" is out of range (1s to 32767s)");
    BOOST_TEST(in_listener("keepalive", "interval", "0") == "\"0\" is out of range (1s to 32767s)");
}

BOOST_AUTO_TEST_CASE(sizes) {
    for (const char* fine : {"65536B", "64KiB", "1MiB", "1GiB"}) BOOST_TEST(high(fine) == "fine", fine);
    BOOST_TEST(high("64KB") == "\"64KB\" is not a size (try 64KiB)");
    BOOST_TEST(high("64M") == "\"64M\" is not a size (try 64MiB)");
    BOOST_TEST(high("30") == "\"30\" has no unit (try 30B or 30KiB)");
    BOOST_TEST(high("0") == "\"0\" is out of range (1B to 1GiB)");
    BOOST_TEST(high("2GiB") == "\"2GiB\" is out of range (1B to 1GiB)");
    BOOST_TEST(high("99999999999GiB") == "\"99999999999GiB\" is out of range (1B to 1GiB)");
    BOOST_TEST(high("99999999999999999999999B") ==
               "\"99999999999999999999999B\" is out of range (1B to 1GiB)");
    for (const std::string odd : {"-1B", "1.5MiB", "064KiB", "B", "lots", ".nan"})
        BOOST_TEST(high(odd) == "\"" + odd + "\" is not a size (try 512B, 64KiB, 1MiB)");
}

BOOST_AUTO_TEST_CASE(rates) {
    const auto rate = [](const std::string& value) { return in_listener("limits", "accept_rate", value); };
    for (const char* fine : {"0", "1/s", "100/s", "5/m", "0x10/m", "1000000000/s"})
        BOOST_TEST(rate(fine) == "fine", fine);
    BOOST_TEST(rate("100") == "\"100\" has no unit (try 100/s)");
    const std::string range = "\" is out of range (0, or 1/s to 1000000000/s)";
    for (const std::string odd : {"0/s", "1000000001/s", "99999999999999999999/s"})
        BOOST_TEST(rate(odd) == "\"" + odd + range);
    BOOST_TEST(rate("0/m") == "\"0/m\" is out of range (0, or 1/m to 1000000000/m)");
    for (const std::string odd :
         {"5/h", "1.5/s", "-1/s", "5 /s", "5/ s", "/s", "s", "5/", "5/s/s", "010/s", "5/S", "00"})
        BOOST_TEST(rate(odd) ==
                   "\"" + odd + "\" is not a rate (a whole number per second or minute, such as 100/s, 5/m)");
    BOOST_TEST(in_listener("limits", "connections_per_ip", "-1") ==
               "\"-1\" is not a whole number (0 to 4294967295)");
}

BOOST_AUTO_TEST_CASE(budgets_of_memory) {
    const auto memory = [](const std::string& value) {
        const std::string text = problems_in(with_listener(kFine, "memory: {total: " + value + "}"));
        return text.empty() ? text : text.substr(text.find("memory.total: ") + 14);
    };
    for (const char* fine : {"auto", "0", "1MiB", "1048576B", "64GiB", "65536GiB"})
        BOOST_TEST(memory(fine) == "", fine);
    const std::string range = "\" is out of range (0, or 1MiB to 65536GiB)\n";
    for (const std::string odd : {"1048575B", "1KiB", "65537GiB", "99999999999GiB"})
        BOOST_TEST(memory(odd) == "\"" + odd + range);
    BOOST_TEST(memory("64") == "\"64\" has no unit (try 64B or 64KiB)\n");
    BOOST_TEST(memory("Auto") == "\"Auto\" is not known (did you mean auto?)\n");
}

BOOST_AUTO_TEST_CASE(words) {
    BOOST_TEST(problems_in(with_listener(
                   kFine, "log: {level: inf, format: xml, output: journald}\ndrain: {spread: yes}")) ==
               "tcpd.yaml:2:14: log.level: \"inf\" is not known (did you mean info?)\n"
               "tcpd.yaml:2:27: log.format: \"xml\" is not known (known: text, json)\n"
               "tcpd.yaml:2:40: log.output: journald is not available (use stderr: under systemd the journal "
               "reads it)\n"
               "tcpd.yaml:3:17: drain.spread: \"yes\" is neither true nor false\n");
    BOOST_TEST(problems_in(with_listener(kFine, "log: {output: stdout}")) ==
               "tcpd.yaml:2:15: log.output: stdout is not available (use stderr)\n");
    BOOST_TEST(
        problems_in(
            with_listener(kFine, "upstreams: {u: {servers: 10.0.0.1:1, balance: least_connections}}")) ==
        "tcpd.yaml:2:47: upstreams.u.balance: \"least_connections\" is not known (known: round_robin)\n");
}

BOOST_AUTO_TEST_CASE(handlers) {
    const auto handler = [](const std::string& value) {
        return problems_in(with_listener("listen: 127.0.0.1:1, handler: " + value));
    };
    BOOST_TEST(handler("ecco") ==
               "tcpd.yaml:1:47: listeners.a.handler: \"ecco\" is not known (did you mean echo?)\n");
    BOOST_TEST(handler("http") ==
               "tcpd.yaml:1:47: listeners.a.handler: \"http\" is not known (known: echo, discard, {proxy: "
               "UPSTREAM}, {routes: [...]})\n");
    BOOST_TEST(
        handler("proxy") ==
        "tcpd.yaml:1:47: listeners.a.handler: the proxy needs an upstream (handler: {proxy: UPSTREAM})\n");
    BOOST_TEST(handler("{}") ==
               "tcpd.yaml:1:47: listeners.a.handler: needs exactly one key ({proxy: UPSTREAM} or {routes: "
               "[...]})\n");
    BOOST_TEST(handler("[echo]") == "tcpd.yaml:1:47: listeners.a.handler: needs one value, not a list\n");
    BOOST_TEST(handler("{module: kv}") ==
               "tcpd.yaml:1:48: listeners.a.handler.module: unknown key (known: proxy, routes)\n");
    BOOST_TEST(handler("{proxy: [b]}") ==
               "tcpd.yaml:1:55: listeners.a.handler.proxy: needs one value, not a list\n");
}

BOOST_AUTO_TEST_CASE(modes_names_and_paths) {
    const auto mode = [](const std::string& value) {
        return problems_in(with_listener("listen: unix:s, handler: echo, unix: {mode: " + value + "}"));
    };
    BOOST_TEST(mode("0777") == "");
    for (const std::string odd : {"660", "1777", "0888", "07777", "rw"})
        BOOST_TEST(mode(odd) ==
                   "tcpd.yaml:1:61: listeners.a.unix.mode: \"" + odd +
                       "\" is not a mode (four octal digits from 0000 to 0777, such as \"0660\")\n");
    BOOST_TEST(complaint("user: a b") == "\"a b\" is not a name");
    BOOST_TEST(complaint("user: ''") == "\"\" is not a name");
    BOOST_TEST(complaint("pid_file: ''") == "is empty (a path is needed)");
    BOOST_TEST(complaint("pid_file: /" + std::string(102, 'x')) == "fine");
    BOOST_TEST(complaint("pid_file: /" + std::string(103, 'x')) ==
               "\"/" + std::string(103, 'x') + "\" has 104 bytes (at most 103)");
}

BOOST_AUTO_TEST_CASE(addresses) {
    const auto listen = [](const std::string& value) {
        return problems_in(with_listener("handler: echo, listen: " + value));
    };
    BOOST_TEST(listen("127.0.0.1:70000") == "tcpd.yaml:1:40: listeners.a.listen: port 70000 is over 65535\n");
    BOOST_TEST(listen("[127.0.0.1:1, localhost:2]") ==
               "tcpd.yaml:1:54: listeners.a.listen[1]: \"localhost:2\" names a host (use a literal "
               "address such as 127.0.0.1:7000)\n");
    BOOST_TEST(listen("[]") ==
               "tcpd.yaml:1:40: listeners.a.listen: is an empty list (at least one entry is needed)\n");
    BOOST_TEST(listen("[[::1]:7000]") ==
               "tcpd.yaml:1:41: listeners.a.listen[0]: needs an address (with a [ or * in it, in quotes: "
               "\"[::1]:7000\"), not a map\n");
    BOOST_TEST(listen("{a: b}") ==
               "tcpd.yaml:1:40: listeners.a.listen: needs an address (with a [ or * in it, in quotes: "
               "\"[::1]:7000\"), not a map\n");
    BOOST_TEST(listen("[~]") ==
               "tcpd.yaml:1:41: listeners.a.listen[0]: needs an address (with a [ or * in it, in quotes: "
               "\"[::1]:7000\"), not nothing\n");
    std::string many = "10.0.0.1:1024";
    for (int port = 0; port < 1024; ++port) many += ", 10.0.0.1:" + std::to_string(port);
    BOOST_TEST(listen("[" + many + "]") ==
               "tcpd.yaml:1:40: listeners.a.listen: has 1025 entries (at most 1024)\n");
    many.replace(0, 13, "'*:2000'");
    many.resize(many.rfind(", "));
    many.resize(many.rfind(", "));
    BOOST_TEST(listen("[" + many + "]") == "");
    many += ", '*:2001'";
    BOOST_TEST(listen("[" + many + "]")
                   .ends_with("listeners.a.listen[1023]: 2 addresses too many (at most 1024)\n"));
    BOOST_TEST(listen("[10.0.0.1:1-1000, '*:2000-2099']") ==
               "tcpd.yaml:1:58: listeners.a.listen[1]: 176 addresses too many (at most 1024)\n");
    BOOST_TEST(listen("10.0.0.1:2-1") ==
               "tcpd.yaml:1:40: listeners.a.listen: the range ends before it begins (write 10.0.0.1:1-2)\n");
    BOOST_TEST(
        problems_in(
            with_listener(kFine, "upstreams: {u: {servers: [10.0.0.1:0, 'dns:db:1', {address: x}]}}")) ==
        "tcpd.yaml:2:27: upstreams.u.servers[0]: port 0 means nothing here (use 1 to 65535)\n"
        "tcpd.yaml:2:39: upstreams.u.servers[1]: \"dns:db:1\" is not an address (try 127.0.0.1:7000 or "
        "[::1]:7000)\n"
        "tcpd.yaml:2:51: upstreams.u.servers[2]: needs an address (with a [ or * in it, in quotes: "
        "\"[::1]:7000\"), not a map\n");
}

BOOST_AUTO_TEST_SUITE_END()
