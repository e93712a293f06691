// What belongs to sessions of framing tcpd: authentication and the heartbeat.

#include <boost/test/unit_test.hpp>

#include "tests/unit/conf/loading.h"

using namespace tcpd;
using namespace tcpd::conf;
using namespace tcpd::conf::test;
using namespace std::chrono_literals;

namespace {

Loaded load_with_tokens(const std::string& text) {
    return load_snapshot(snapshot_of({{"tcpd.yaml", text}, {"tokens", "me:" + std::string(64, 'a')}}));
}

// Fine, and the same once it was dumped.
Listener listener_of(const std::string& keys) {
    const Loaded loaded = load_with_tokens(with_listener(kFine + ", framing: tcpd, " + keys));
    BOOST_REQUIRE_EQUAL(problems_of(loaded), "");
    const Loaded again = load_with_tokens(dump(loaded.config));
    BOOST_REQUIRE_EQUAL(problems_of(again), "");
    BOOST_CHECK(again.config == loaded.config);
    return loaded.config.listeners[0];
}

// What is wrong; "listeners.a." left out.
std::string complaints(const std::string& keys, const std::string& framing = "tcpd") {
    std::string all;
    const Loaded loaded = load_with_tokens(with_listener(kFine + ", framing: " + framing + ", " + keys));
    for (const Problem& problem : loaded.problems)
        all += (all.empty() ? "" : "; ") + problem.key_path.substr(12) + ": " + problem.message;
    return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_listener_session)

BOOST_AUTO_TEST_CASE(authentication_by_token) {
    for (const std::string methods : {"[token]", "token"}) {
        const Auth auth = listener_of("auth: {methods: " + methods + ", tokens: tokens}").auth;
        BOOST_TEST(auth.by_token);
        BOOST_TEST(auth.tokens_path == "/etc/tcpd/tokens");
        BOOST_TEST(auth.tokens.size() == 1U);
    }
    BOOST_CHECK(listener_of("backlog: 1").auth == Auth{});
}

BOOST_AUTO_TEST_CASE(what_authentication_needs) {
    const std::string missing_methods = "auth.methods: is missing (methods: [token])";
    const std::string missing_tokens =
        "auth.tokens: is missing (a file with a line identity:sha256-hex for each token)";
    BOOST_TEST(complaints("auth: {}") == missing_methods + "; " + missing_tokens);
    BOOST_TEST(complaints("auth: {methods: [token]}") == missing_tokens);
    BOOST_TEST(complaints("auth: {tokens: tokens}, timeouts: {auth: 1s}") == missing_methods);
    BOOST_TEST(complaints("auth: {methods: [token, mtls], tokens: tokens}") ==
               "auth.methods[1]: \"mtls\" is not known (known: token)");
    BOOST_TEST(complaints("auth: {methods: [token, token], tokens: tokens}") ==
               "auth.methods[1]: \"token\" is there twice");
    BOOST_TEST(complaints("auth: {methods: [], tokens: tokens}") ==
               "auth.methods: is an empty list (at least one entry is needed)");
    for (const std::string framing : {"raw", "line"})
        BOOST_TEST(complaints("auth: {methods: [token], tokens: tokens}", framing) ==
                   "auth: goes with framing: tcpd only");
}

BOOST_AUTO_TEST_CASE(a_time_out_for_it) {
    const std::string auth = "auth: {methods: [token], tokens: tokens}, ";
    BOOST_CHECK(listener_of(auth + "backlog: 1").timeouts.auth == 5s);
    BOOST_CHECK(listener_of(auth + "timeouts: {auth: 0}").timeouts.auth == 0s);
    BOOST_CHECK(listener_of("timeouts: {auth: 9s}, " + auth + "backlog: 1").timeouts.auth == 9s);
    BOOST_TEST(complaints("timeouts: {auth: 5s}") == "timeouts.auth: goes with auth only");
    BOOST_TEST(complaints("timeouts: {auth: 5s}", "raw") == "timeouts.auth: goes with auth only");
}

BOOST_AUTO_TEST_CASE(the_heartbeat) {
    BOOST_CHECK(listener_of("backlog: 1").heartbeat == (Heartbeat{30s, 3}));
    BOOST_CHECK(listener_of("heartbeat: {interval: 0}").heartbeat == (Heartbeat{0s, 3}));
    BOOST_CHECK(listener_of("heartbeat: {interval: 2m, misses: 255}").heartbeat == (Heartbeat{2min, 255}));
    for (const char* odd : {"0", "256"})
        BOOST_TEST(complaints(std::string("heartbeat: {misses: ") + odd + "}") ==
                   std::string("heartbeat.misses: \"") + odd + "\" is out of range (1 to 255)");
    for (const std::string framing : {"raw", "line"})
        BOOST_TEST(complaints("heartbeat: {misses: 3}", framing) ==
                   "heartbeat: goes with framing: tcpd only");
}

BOOST_AUTO_TEST_CASE(the_dump_has_what_may_be_written_only) {
    const auto dump_of = [](const std::string& keys) {
        const std::string text = dump(load_with_tokens(with_listener(kFine + ", " + keys)).config);
        return text.substr(text.find("\nlisteners:"));
    };
    const auto has = [](const std::string& text, const char* line) { return text.find(line) != text.npos; };
    const std::string line = dump_of("framing: line"), open = dump_of("framing: tcpd"),
                      closed = dump_of("framing: tcpd, auth: {methods: [token], tokens: tokens}");
    BOOST_TEST((!has(line, " heartbeat:") && !has(line, " auth:")));
    BOOST_TEST((has(open, "\n    heartbeat: ") && has(open, "\n      misses: 3 ") && !has(open, " auth:")));
    BOOST_TEST(has(closed, "\n      methods: [token] "));
    BOOST_TEST(has(closed, "\n      tokens: \"/etc/tcpd/tokens\" "));
    BOOST_TEST(has(closed, "\n      auth: 5s "));
    BOOST_TEST(!has(closed, "aaaa"));
}

BOOST_AUTO_TEST_SUITE_END()
