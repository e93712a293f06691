// Routes: what is taken, what is said of a mistake, and that none can stand where it never matches.

#include <boost/test/unit_test.hpp>

#include "conf/listener/routes.h"
#include "tests/unit/conf/loading.h"

using namespace tcpd;
using namespace tcpd::conf;
using namespace tcpd::conf::test;

namespace {

const std::string kDeclared =
    "framings: {small: {length: {size: 1}, type: {offset: 1, size: 1}}, wide: {length: {size: 1}, type: "
    "{offset: 1, size: 4}}}\n";

std::string text_of(const std::string& framing, const std::string& routes) {
    return with_listener(
        "listen: 127.0.0.1:7000, framing: " + framing + ", handler: {routes: " + routes + "}", kDeclared);
}

// Fine, and the same once it was dumped.
std::vector<Route> routes_of(const std::string& framing, const std::string& routes) {
    const Loaded loaded = load_text(text_of(framing, routes));
    BOOST_REQUIRE_EQUAL(problems_of(loaded), "");
    const Loaded again = load_text(dump(loaded.config));
    BOOST_REQUIRE_EQUAL(problems_of(again), "");
    BOOST_CHECK(again.config == loaded.config);
    BOOST_CHECK(loaded.config.listeners[0].handler.kind == HandlerKind::routes);
    return loaded.config.listeners[0].handler.routes;
}

// What is wrong; "listeners.a.handler.routes" left out.
std::string complaints(const std::string& routes, const std::string& framing = "tcpd") {
    std::string all = complaints_in(text_of(framing, routes));
    const std::string path = "listeners.a.handler.routes";
    for (size_t at; (at = all.find(path)) != std::string::npos;) all.erase(at, path.size());
    return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_listener_routes)

BOOST_AUTO_TEST_CASE(every_key_reaches_its_member) {
    const std::vector<Route> expected{
        {.types = {{1, 1}, {2, 2}, {16, 31}}, .action = RouteAction::echo},
        {.types = {{0x100, 0x100}}, .action = RouteAction::discard},
        {.types = {{0x200, 0xEFFF}}, .action = RouteAction::discard, .one_way = true},
        {.action = RouteAction::error, .error = 503}};
    BOOST_CHECK(routes_of("tcpd",
                          "[{types: [1, 2, 0x10-0x1F], handler: echo}, {types: 256, handler: discard, "
                          "one_way: false}, {handler: discard, types: 0x200-0xEFFF, one_way: true}, "
                          "{default: true, error: 503}]") == expected);
    for (const char* code : {"400", "401", "413", "429", "500", "503", "504"})
        BOOST_TEST(routes_of("tcpd", std::string("[{types: 0, error: ") + code + "}]")[0].error ==
                   static_cast<unsigned>(std::stoi(code)));
    BOOST_CHECK(routes_of("line", "[{default: true, handler: discard}]")[0].types.empty());
    BOOST_CHECK(routes_of("small", "[{types: 255, handler: echo}]")[0].types[0].last == 255);
    BOOST_CHECK(routes_of("wide", "[{types: 0-0xFFFFFFFF, handler: echo}]")[0].types[0].last == UINT32_MAX);
}

BOOST_AUTO_TEST_CASE(types_as_they_are_written) {
    const auto types = [](const std::string& value) {
        return complaints("[{handler: echo, types: " + value + "}]");
    };
    BOOST_TEST(types("[]") == "[0].types: is an empty list (at least one entry is needed)");
    BOOST_TEST(types("0x1F-0x10") == "[0].types: \"0x1F-0x10\" ends below its begin (try 0x10-0x1F)");
    BOOST_TEST(
        types("[1, 010]") ==
        "[0].types[1]: \"010\" has a number that begins with 0, which could mean octal (write it without)");
    for (const std::string odd :
         {"-1", "1-", "one", "1 - 2", "1-2-3", "0x", "4294967296", "99999999999999999999"})
        BOOST_TEST(types(odd) ==
                   "[0].types: \"" + odd +
                       "\" is not a type (a number up to 0xFFFFFFFF such as 7 or 0x10, or a range "
                       "such as 0x10-0x1F)");
    BOOST_TEST(types("{}") == "[0].types: needs one value, not a map");
}

BOOST_AUTO_TEST_CASE(types_are_those_of_the_framing) {
    const std::string route = "[{types: [1, 0x100], handler: echo}]";
    BOOST_TEST(complaints(route, "line") ==
               "[0].types: framing \"line\" has no type (only a default matches there)");
    BOOST_TEST(complaints(route, "small") ==
               "[0].types: 0x100 is more than the 1 byte of a type can hold (at most 0xFF)");
    BOOST_TEST(complaints("[{types: 0xEFFF-0x10000, handler: echo}]") ==
               "[0].types: 0x10000 is more than the 2 bytes of a type can hold (at most 0xEFFF)");
    BOOST_TEST(complaints("[{types: [0xF000, 1], handler: echo}]") ==
               "[0].types: 0xF000 is a control frame's type, which tcpd handles itself (at most 0xEFFF)");
}

BOOST_AUTO_TEST_CASE(which_frames_and_what_is_done_is_said_once) {
    BOOST_TEST(
        complaints("[{}]") ==
        "[0]: does not say which frames it takes (give it types, or default: true); [0]: does not say what "
        "is done (give it handler or error)");
    BOOST_TEST(
        complaints("[{types: 1, default: true, handler: echo, error: 400}]") ==
        "[0]: has types and default (one of them: a default takes every type); [0]: has handler and error "
        "(one of them)");
    BOOST_TEST(complaints("[{default: false, handler: echo}]") ==
               "[0].default: \"false\" is not true (a route that is no default has types)");
    BOOST_TEST(complaints("[{types: 1, upstream: u}]") ==
               "[0]: does not say what is done (give it handler or error); [0].upstream: unknown key (known: "
               "types, default, handler, error, one_way)");
    BOOST_TEST(complaints("[{types: 1, handler: ecco}]") ==
               "[0].handler: \"ecco\" is not known (did you mean echo?)");
}

BOOST_AUTO_TEST_CASE(errors_are_frames_of_tcpd) {
    for (const std::string odd : {"402", "0", "four", "-400"})
        BOOST_TEST(complaints("[{default: true, error: " + odd + "}]") ==
                   "[0].error: \"" + odd +
                       "\" is no code of an error frame (400, 401, 413, 429, 500, 503, 504)");
    BOOST_TEST(
        complaints("[{default: true, error: 400}]", "small") ==
        "[0].error: framing \"small\" has no error frames (leave this route out: a frame that no route "
        "matches closes the connection there)");
}

BOOST_AUTO_TEST_CASE(one_way_is_for_discard) {
    BOOST_TEST(
        complaints(
            "[{types: 1, handler: echo, one_way: true}, {types: 2, error: 500, one_way: true}, "
            "{types: 3, handler: discard, one_way: true}, {types: 4, handler: echo, one_way: false}]") ==
        "[0].one_way: echo only answers, and what is one-way is never answered (take handler: discard); "
        "[1].one_way: an error is an answer, and what is one-way is never answered (take handler: "
        "discard)");
}

BOOST_AUTO_TEST_CASE(a_route_that_never_matches) {
    const auto never = [](const std::string& types, const std::string& framing = "tcpd") {
        std::string routes;
        for (size_t at = 0, end; at <= types.size(); at = end + 1) {
            end = std::min(types.find(';', at), types.size());
            routes += "{handler: echo, " + types.substr(at, end - at) + "}, ";
        }
        const std::string all = complaints("[" + routes + "]", framing);
        const std::string text = ": never matches: the routes before it take all that it would";
        std::string which = all;
        for (size_t at; (at = which.find(text)) != std::string::npos;) which.erase(at, text.size());
        return which;
    };
    BOOST_TEST(never("types: 1;types: [2, 3];default: true") == "");
    BOOST_TEST(never("default: true;types: 1;default: true") == "[1]; [2]");
    BOOST_TEST(never("types: [1, 2];types: 2;types: [2, 3]") == "[1]");
    BOOST_TEST(never("types: 1-5;types: 6-9;types: 4-7;types: [0, 10, 3];types: 0-10") == "[2]; [4]");
    BOOST_TEST(never("types: 6-9;types: 1-5;types: 1-9") == "[2]");
    BOOST_TEST(never("types: 1-3;types: 7-9;types: 2-8;types: 1-9") == "[3]");
    BOOST_TEST(never("types: 0-0xEFFF;default: true") == "[1]");
    BOOST_TEST(never("types: 0-0xEFFE;default: true") == "");
    BOOST_TEST(never("types: 0-255;default: true", "small") == "[1]");
    BOOST_TEST(never("types: 0x80000000-0xFFFFFFFF;types: 0-0x7FFFFFFF;default: true;types: 0xFFFFFFFF",
                     "wide") == "[2]; [3]");
    BOOST_TEST(never("default: true;default: true", "line") == "[1]");
}

BOOST_AUTO_TEST_CASE(shapes) {
    BOOST_TEST(complaints("[{types: [], handler: echo}, {types: 2, handler: echo}]") ==
               "[0].types: is an empty list (at least one entry is needed)");  // and not behind a default
    BOOST_TEST(complaints("[{types: 1-010, handler: echo}]").find("could mean octal") != std::string::npos);
    BOOST_TEST(complaints("[]") == ": is an empty list (at least one route is needed)");
    BOOST_TEST(complaints("{types: 1}") ==
               ": needs a list of routes ([{types: [1, 2], handler: echo}, ...]), not a map");
    BOOST_TEST(complaints("[echo, {types: 0xF000, handler: echo}]") ==
               "[0]: needs a map of keys ({types: [1, 2], handler: echo}), not a single value; "
               "[1].types: 0xF000 is a control frame's type, which tcpd handles itself (at most 0xEFFF)");
    std::string many;
    for (int at = 0; at < 257; ++at) many += "{types: " + std::to_string(at) + ", handler: echo}, ";
    BOOST_TEST(complaints("[" + many + "]") == ": has 257 routes (at most 256)");
    std::string types;
    for (int at = 0; at < 257; ++at) types += std::to_string(at) + ", ";
    BOOST_TEST(complaints("[{handler: echo, types: [" + types + "]}]") ==
               "[0].types: has 257 entries (at most 256)");
    BOOST_TEST(
        complaints_in(with_listener("listen: 127.0.0.1:1, handler: {routes: [{default: true, handler: "
                                    "echo}]}")) ==
        "listeners.a.handler.routes: needs frames, and framing raw has none (framing: line, tcpd, or a name "
        "under framings)");
    BOOST_TEST(
        complaints_in(with_listener("listen: 127.0.0.1:1, framing: tcpd, handler: routes")) ==
        "listeners.a.handler: the routes are a list (handler: {routes: [{types: [1, 2], handler: echo}]})");
}

BOOST_AUTO_TEST_CASE(a_place_for_each) {
    BOOST_TEST(problems_in(R"(listeners:
  a:
    listen: 127.0.0.1:1
    framing: tcpd
    handler:
      routes:
        - {types: 1, handler: echo}
        - types: 1
          error: 400
)") == "tcpd.yaml:8:11: listeners.a.handler.routes[1]: never matches: the routes before it take all that it "
       "would\n");
}

BOOST_AUTO_TEST_CASE(ranges_as_text) {
    BOOST_TEST(format_type_range({7, 7}) == "0x7");
    BOOST_TEST(format_type_range({16, 31}) == "0x10-0x1F");
    BOOST_CHECK(*parse_type_range("0x10-31") == (TypeRange{16, 31}));
    BOOST_CHECK(*parse_type_range("0-0") == (TypeRange{0, 0}));
}

BOOST_AUTO_TEST_SUITE_END()
