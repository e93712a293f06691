// Files that nobody writes on purpose, and files that somebody does: never a crash, a hang or the parser's
// own words.

#include <boost/test/unit_test.hpp>

#include "tests/unit/conf/loading.h"

using namespace tcpd::conf;
using namespace tcpd::conf::test;

namespace {

std::string repeated(std::string_view text, size_t times) {
    std::string all;
    for (size_t at = 0; at < times; ++at) all += text;
    return all;
}

// The first problem, or what stands in the way of it.
std::string first(const std::string& text) {
    const Loaded loaded = load_text(text);
    if (loaded.problems.empty()) return "fine";
    const std::string problem = loaded.problems[0].text();
    return problem.substr(std::string_view("/etc/tcpd/tcpd.yaml:").size());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_hostile)

BOOST_AUTO_TEST_CASE(what_is_no_text) {
    BOOST_TEST(first("\x7f"
                     "ELF\x02\x01") == "1:1: \"\\x7f\" is a control character (is this a text file?)");
    BOOST_TEST(first("workers: 1\n  \xff\xfe") == "2:3: byte 0xff is not UTF-8 (is this a text file?)");
    BOOST_TEST(first(std::string("\xff\xfew\0", 4)) == "1:1: byte 0xff is not UTF-8 (is this a text file?)");
    BOOST_TEST(first(std::string("a: \0", 4)) ==
               "1:4: \"\\x00\" is a control character (is this a text file?)");
    BOOST_TEST(first("a: \xc2\x9b"
                     "31m") == "1:4: \"\\xc2\\x9b\" is a control character (is this a text file?)");
    BOOST_TEST(first("\xef\xbb\xbf\xff") == "1:1: byte 0xff is not UTF-8 (is this a text file?)");
    BOOST_TEST(first("a: \xed\xa0\x80") == "1:4: byte 0xed is not UTF-8 (is this a text file?)");
    BOOST_TEST(first("a: caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\nb: \x01").starts_with("2:4: "));
}

BOOST_AUTO_TEST_CASE(what_is_no_configuration) {
    BOOST_TEST(first("- a\n- b") == "1:1: a file is a map of keys (listeners: ...), not a list");
    BOOST_TEST(first("hello") == "1:1: a file is a map of keys (listeners: ...), not a single value");
    BOOST_TEST(first("listeners: {}\n---\nlisteners: {}") ==
               "2:1: a second document begins here (a file holds one)");
    BOOST_TEST(first("workers: !!int 5") == "1:10: a tag (!...) is not understood here (leave it out)");
    BOOST_TEST(first("listeners: !x {}") == "1:12: a tag (!...) is not understood here (leave it out)");
}

BOOST_AUTO_TEST_CASE(too_much) {
    const std::string deep = "nested too deeply (at most 64 levels)";
    BOOST_TEST(first(repeated("[", 20'000)) == "1:33: " + deep);
    BOOST_TEST(first(repeated("{", 20'000)) == "1:64: " + deep);
    BOOST_TEST(first(repeated("- ", 20'000)) == "1:129: " + deep);
    BOOST_TEST(first(repeated("? ", 20'000)) == "1:129: " + deep);
    BOOST_TEST(first("a: " + repeated("{a: ", 20'000)) == "1:256: " + deep);
    BOOST_TEST(first(repeated("[", 1'000'000)) == "1:33: " + deep);
    BOOST_TEST(load_text(std::string(1024 * 1024 + 1, '\n')).problems[0].text() ==
               "/etc/tcpd/tcpd.yaml: larger than 1MiB, which no config file should be");
    BOOST_TEST(first("a: [" + repeated("a,", 400'000)) ==
               "1:199999: too much for one file (at most 100000 keys and values)");
}

BOOST_AUTO_TEST_CASE(files_that_are_too_much_together) {
    Snapshot snapshot = snapshot_of({{"tcpd.yaml", "include: '*'\n" + with_listener(kFine)}});
    for (int at = 0; at < 9; ++at) {
        const std::string path = "/etc/tcpd/" + std::to_string(at);
        snapshot.files[path] = std::string(1024 * 1024, '#');
        snapshot.patterns["/etc/tcpd/*"].push_back(path);
    }
    BOOST_TEST(problems_of(load_snapshot(std::move(snapshot))) ==
               "tcpd.yaml:1:10: include: up to \"7\" the files have more than 8MiB together\n"
               "tcpd.yaml:1:10: include: up to \"8\" the files have more than 8MiB together\n");
}

BOOST_AUTO_TEST_CASE(aliases_that_multiply, *boost::unit_test::timeout(20)) {
    std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n";
    for (char name = 'b'; name < 'm'; ++name)
        bomb += std::string(1, name) + ": &" + name + " [" +
                repeated(std::string("*") + char(name - 1) + ",", 9) + "]\n";
    const Loaded loaded = load_text(bomb + "listeners: *l\nworkers: *l\ninclude: *l\n");
    BOOST_TEST(loaded.problems.size() == 23U);  // 12 unknown keys, listeners, workers, 9 items of include
    BOOST_TEST(
        problems_of(loaded).find(": include[8]: needs a file or a pattern (conf.d/*.yaml), not a list\n") !=
        std::string::npos);

    std::string wide = "x: &x {" + repeated("k: 1, ", 20'000) + "}\nlisteners:\n";
    for (int at = 0; at < 20'000; ++at) wide += "  l" + std::to_string(at) + ": *x\n";
    const std::vector<Problem> problems = load_text(wide).problems;
    BOOST_TEST(problems.size() == 1001U);
    BOOST_TEST(first("listeners: &a {b: *a}") == "1:19: an alias inside of the very thing that it names");
    BOOST_TEST(first("listeners: {a: *nothing}") ==
               "1:16: no anchor has this name (a value that begins with * needs quotes: \"*:7000\")");
}

BOOST_AUTO_TEST_CASE(problems_have_an_end) {
    std::string text;
    for (int at = 0; at < 40'000; ++at) text += "k" + std::to_string(at) + ": 1\n";
    const std::vector<Problem> problems = load_text(text).problems;
    BOOST_REQUIRE(problems.size() == 1001U);
    BOOST_TEST(problems.back().text() ==
               "/etc/tcpd/tcpd.yaml:1001:1: there is more after this (mend these first)");
}

BOOST_AUTO_TEST_CASE(syntax_in_our_own_words) {
    BOOST_TEST(first("a:\n\tb: 1\n") == "2:3: a tab in the indentation (use spaces)");
    BOOST_TEST(first("a:\n  b: 1\n\tc: 2\n") == "3:1: a tab in the indentation (use spaces)");
    BOOST_TEST(first("a: [1, 2\nb: 3\n") == "2:2: a [ is not closed, or something in it is out of place");
    BOOST_TEST(first("a: {b: 1\n") == "2:1: a { is not closed, or something in it is out of place");
    BOOST_TEST(first("a: 1\n] b") == "2:1: a closing bracket that closes nothing");
    BOOST_TEST(first("a: b: c\n").ends_with("a value with \": \" in it needs quotes)"));
    BOOST_TEST(first("a: 1\n  b: 2\n").starts_with("2:4: a \": \" is out of place here"));
    BOOST_TEST(first("a: \"x") == "1:6: the file ends inside of quotes");
    BOOST_TEST(first("a: \"x\nb: 1\n") == "1:4: the quote that begins here is never closed");
    BOOST_TEST(first("\xef\xbb\xbf"
                     "a: \"x\nb: 1\n") == "1:4: the quote that begins here is never closed");
    BOOST_TEST(first("a: &b 'x''\nb: 1\n") == "1:4: the quote that begins here is never closed");
    BOOST_TEST(first("a: \"\\q\"").find("an unknown escape after \\") == 5U);
    BOOST_TEST(first("a: \"\\xzz\"").ends_with("a \\x, \\u or \\U without its hexadecimal digits"));
    BOOST_TEST(first("a: \"\\ud800\"").ends_with("a \\u or \\U that is no character"));
    BOOST_TEST(first("a: @x") == "1:4: a value cannot begin with this character (put it in quotes)");
    BOOST_TEST(first("a: *:7000") ==
               "1:4: no anchor has this name (a value that begins with * needs quotes: \"*:7000\")");
    BOOST_TEST(
        first("a: [::]:7000").ends_with("a value that begins with [ or { needs quotes: \"[::1]:7000\")"));
    BOOST_TEST(first("%YAML 9\n---\na: 1\n")
                   .ends_with("(look at the indentation, brackets and quotes here and in the line above)"));
}

// Bits of a fine text changed at random: whatever comes out, it comes out, and none of it is the parser's.
BOOST_AUTO_TEST_CASE(a_text_with_every_byte_damaged) {
    const std::string fine = R"(workers: 0x4
drain: {stop: 5m, spread: false}
listeners:
  gateway: &g
    listen: ["*:7000", 'unix:a.sock']
    handler: {proxy: db}
  orders:
    listen: 127.0.0.1:0
    framing: f
    max_frame: 1MiB
    handler: {routes: [{types: [1, 0x2-3], handler: echo}, {default: true, handler: discard, one_way: true}]}
framings: {f: {length: {size: 2}, type: {offset: 2, size: 1}}}
upstreams:
  db: {servers: ["[::1]:5432", 10.0.0.1:3], timeouts: {dial: 0}}
)";
    BOOST_TEST(problems_in(fine) == "");
    const std::string bytes("\0\n\t -:?#&*!|>'\"%@`[]{},\\a0\xff", 28);
    for (size_t at = 0; at <= fine.size(); ++at)
        for (const char byte : bytes) {
            std::string damaged = fine;
            damaged.insert(at, 1, byte);
            for (const Problem& problem : load_text(damaged).problems) {
                BOOST_REQUIRE(problem.text().find("yaml-cpp") == std::string::npos);
                // Only the text as a whole, and what is nowhere in it, have no place.
                const bool has_none = problem.key_path.empty() || problem.message.starts_with("no listeners");
                BOOST_REQUIRE_MESSAGE(problem.line >= (has_none ? 0 : 1), problem.text());
                BOOST_REQUIRE((problem.line == 0) == (problem.column == 0));
            }
            load_text(fine.substr(0, at) + byte);
        }
}

BOOST_AUTO_TEST_SUITE_END()
