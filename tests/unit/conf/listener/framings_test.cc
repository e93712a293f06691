// The framing that a listener names, and the keys that mean something under some framings only.

#include <boost/test/unit_test.hpp>

#include "tests/unit/conf/loading.h"

using namespace tcpd;
using namespace tcpd::conf;
using namespace tcpd::conf::test;
using namespace std::chrono_literals;

namespace {

const std::string kDeclared =
    "framings: {dns: {length: {size: 2}, max_frame: 65535B}, block: {fixed: 64B}, nul: {delimiter: "
    "\"00\"}}\n";

std::string text_of(const std::string& keys) { return with_listener(kFine + ", " + keys, kDeclared); }

// Fine, and the same once it was dumped.
Listener listener_of(const std::string& keys) {
    const Loaded loaded = load_text(text_of(keys));
    BOOST_REQUIRE_EQUAL(problems_of(loaded), "");
    const Loaded again = load_text(dump(loaded.config));
    BOOST_REQUIRE_EQUAL(problems_of(again), "");
    BOOST_CHECK(again.config == loaded.config);
    return loaded.config.listeners[0];
}

std::string complaints(const std::string& keys) { return complaints_in(text_of(keys)); }

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_listener_framings)

BOOST_AUTO_TEST_CASE(built_in_and_declared_ones) {
    for (const std::string name : {"raw", "line", "tcpd"})
        BOOST_CHECK(listener_of("framing: " + name).framing == *find_built_in_framing(name));
    BOOST_CHECK(listener_of("backlog: 1").framing == *find_built_in_framing("raw"));
    const Framing dns = listener_of("framing: dns").framing;
    BOOST_CHECK(dns.name == "dns" && dns.kind == FramingKind::length && dns.length_bytes == 2U);
    BOOST_CHECK(dns.max_frame_bytes == 65535U);
}

BOOST_AUTO_TEST_CASE(one_may_be_declared_in_another_file) {
    const Loaded loaded =
        load_snapshot(snapshot_of({{"tcpd.yaml", "include: [a.yaml, b.yaml]\n"},
                                   {"a.yaml", with_listener(kFine + ", max_frame: 1KiB, framing: far")},
                                   {"b.yaml", "framings: {far: {length: {size: 1}}}\n"}}));
    BOOST_TEST(problems_of(loaded) == "");
    BOOST_TEST(loaded.config.listeners.at(0).framing.name == "far");
    BOOST_TEST(loaded.config.listeners[0].framing.max_frame_bytes == 1024U);
}

BOOST_AUTO_TEST_CASE(one_that_is_not_there) {
    BOOST_TEST(problems_in("listeners:\n  a:\n    " +
                           std::string("listen: 127.0.0.1:7000\n    handler: echo\n") +
                           "    framing: tcpdd\n") ==
               "tcpd.yaml:5:14: listeners.a.framing: there is no framing \"tcpdd\" (did you mean tcpd?)\n");
    BOOST_TEST(complaints("framing: dnss") ==
               "listeners.a.framing: there is no framing \"dnss\" (did you mean dns?)");
    BOOST_TEST(complaints("framing: http") ==
               "listeners.a.framing: there is no framing \"http\" (raw, line and tcpd are built in; declare "
               "others under framings)");
    BOOST_TEST(complaints("framing: [tcpd]") == "listeners.a.framing: needs one value, not a list");
}

// It may be in the file that could not be read.
BOOST_AUTO_TEST_CASE(none_is_called_missing_while_a_file_is_unread) {
    BOOST_TEST(
        problems_of(load_snapshot(snapshot_of(
            {{"tcpd.yaml", "include: b.yaml\n" + with_listener(kFine + ", framing: b, max_frame: 1B")}}))) ==
        "tcpd.yaml:1:10: include: \"b.yaml\" cannot be read: it is not in the bundle\n");
}

// What follows from a framing is not told of one that is in doubt.
BOOST_AUTO_TEST_CASE(nothing_follows_from_what_is_wrong) {
    BOOST_TEST(complaints("framing: http, max_frame: 1KiB, timeouts: {frame: 1s}")
                   .ends_with("declare others under framings)"));
    BOOST_TEST(complaints_in(with_listener(kFine + ", framing: f, max_frame: 1KiB",
                                           "framings: {f: {length: {size: 5}}}\n")) ==
               "framings.f.length.size: \"5\" is not a size of a length (1, 2, 3, 4 or 8)");
    BOOST_TEST(complaints_in(with_listener(kFine + ", framing: f, max_frame: 1KiB", "framings: {f: {}}\n")) ==
               "framings.f: does not say how frames are cut (give it length, delimiter or fixed)");
    BOOST_TEST(complaints("framing: , max_frame: 1KiB") ==
               "listeners.a.framing: has no value (leave the key out, or give it one)");
}

BOOST_AUTO_TEST_CASE(a_max_frame_of_its_own) {
    for (const std::string name : {"line", "tcpd", "dns", "nul"}) {
        const Framing framing = listener_of("max_frame: 4KiB, framing: " + name).framing;
        BOOST_TEST(framing.max_frame_bytes == 4096U, name);
        BOOST_TEST(framing.name == name);
    }
    BOOST_TEST(listener_of("framing: tcpd, max_frame: 1GiB").framing.max_frame_bytes == 1U << 30);
    BOOST_TEST(complaints("framing: tcpd, max_frame: 2GiB") ==
               "listeners.a.max_frame: \"2GiB\" is out of range (1B to 1GiB)");
    BOOST_TEST(complaints("framing: tcpd, max_frame: 0") ==
               "listeners.a.max_frame: \"0\" is out of range (1B to 1GiB)");
    const std::string refused =
        "listeners.a.max_frame: needs frames that vary in size (framing: line, tcpd, or one under framings "
        "that is not fixed)";
    BOOST_TEST(complaints("max_frame: 1KiB") == refused);
    BOOST_TEST(complaints("max_frame: 1KiB, framing: raw") == refused);
    BOOST_TEST(complaints("framing: block, max_frame: 1KiB") == refused);
}

BOOST_AUTO_TEST_CASE(a_time_out_for_frames) {
    BOOST_CHECK(listener_of("framing: block").timeouts.frame == 60s);
    BOOST_CHECK(listener_of("framing: line, timeouts: {frame: 0}").timeouts.frame == 0s);
    BOOST_CHECK(listener_of("timeouts: {frame: 5s}, framing: block").timeouts.frame == 5s);
    BOOST_TEST(
        complaints("timeouts: {frame: 5s}") ==
        "listeners.a.timeouts.frame: needs frames, and framing raw has none (framing: line, tcpd, or a "
        "name under framings)");
}

BOOST_AUTO_TEST_CASE(a_rate_of_messages) {
    BOOST_CHECK(listener_of("framing: line, limits: {message_rate: 5/m}").limits.message_rate ==
                (Rate{5, 1min}));
    BOOST_CHECK(listener_of("framing: tcpd, limits: {accept_rate: 1/s}").limits.message_rate == Rate{});
    BOOST_TEST(
        complaints("limits: {message_rate: 0}") ==
        "listeners.a.limits.message_rate: needs frames, and framing raw has none (framing: line, tcpd, or a "
        "name under framings)");
}

BOOST_AUTO_TEST_CASE(a_proxy_of_frames) {
    const std::string text = with_listener("listen: 127.0.0.1:1, framing: tcpd, handler: {proxy: u}",
                                           "upstreams: {u: {servers: 10.0.0.1:1}}\n");
    BOOST_TEST(problems_in(text) == "");
}

BOOST_AUTO_TEST_CASE(replies_of_another_shape) {
    const std::string up = "upstreams: {u: {servers: 10.0.0.1:1}}\n";
    const auto text = [&](const std::string& framings, const std::string& handler = "{proxy: u}") {
        return with_listener("listen: 127.0.0.1:1, framing: asked, handler: " + handler,
                             up + "framings: {" + framings + "}\n");
    };
    const auto asked = [](const std::string& replies) {
        return "asked: {length: {size: 2}, replies: " + replies + "}";
    };
    const auto listener = [&](const std::string& framings) {
        const Loaded loaded = load_text(text(framings));
        BOOST_REQUIRE_EQUAL(problems_of(loaded), "");
        BOOST_CHECK(load_text(dump(loaded.config)).config == loaded.config);
        return loaded.config.listeners[0];
    };
    BOOST_TEST(!listener("asked: {length: {size: 2}}").replies);
    BOOST_TEST(!listener(asked("asked")).replies);
    for (const std::string name : {"raw", "line"})
        BOOST_CHECK(listener(asked(name)).reply_framing() == *find_built_in_framing(name));
    // Those of the other are for listeners that name it.
    const std::string ack = "ack: {fixed: 1B, replies: asked}, ";
    BOOST_TEST(listener(ack + asked("ack")).reply_framing().fixed_bytes == 1U);
    BOOST_TEST(listener(ack + asked("ack")).framing.name == "asked");
    BOOST_TEST(complaints_in(text(ack + asked("akc"))) ==
               "framings.asked.replies: there is no framing \"akc\" (did you mean ack?)");
    BOOST_TEST(complaints_in(text(asked("tcpd"))) ==
               "framings.asked.replies: framing tcpd is for both directions, and answers nothing else (raw, "
               "line, or a name under framings)");
    BOOST_TEST(complaints_in(text(asked("''"))) ==
               "framings.asked.replies: is empty (the name of a framing is needed)");
    for (const std::string handler : {"echo", "discard", "{routes: [{default: true, handler: discard}]}"}) {
        BOOST_TEST(
            complaints_in(text(asked("raw"), handler)) ==
            "listeners.a.framing: framing \"asked\" has replies: raw, which only servers send (handler: "
            "{proxy: UPSTREAM}, or a framing without replies)");
        BOOST_TEST(complaints_in(text(asked("asked"), handler)) == "");
    }
}

BOOST_AUTO_TEST_CASE(the_dump_has_what_may_be_written_only) {
    const auto dump_of = [](const std::string& keys) { return dump(load_text(text_of(keys)).config); };
    const auto has = [](const std::string& text, const char* line) {
        return text.find(line, text.find("\nlisteners:")) != std::string::npos;
    };
    const std::string raw = dump_of("backlog: 1"), block = dump_of("framing: block");
    BOOST_TEST(has(raw, "\n    framing: raw "));
    BOOST_TEST((!has(raw, " max_frame:") && !has(raw, " frame:") && !has(raw, " message_rate:")));
    BOOST_TEST((!has(block, " max_frame:") && has(block, "\n      frame: 1m ")));
    BOOST_TEST(has(dump_of("framing: dns"), "\n    max_frame: 65535B "));
}

BOOST_AUTO_TEST_SUITE_END()
