// The file of tokens: what is taken, what is said of a mistake (never in the file's own words), who may read
// it, and how it gets to a slot.

#include <sys/stat.h>
#include <boost/test/unit_test.hpp>

#include <filesystem>

#include "tests/unit/conf/loading.h"
#include "tests/unit/folder.h"

using namespace tcpd;
using namespace tcpd::conf;
using namespace tcpd::conf::test;
using tcpd::test::Folder;

namespace {

const std::string kAuth = kFine + ", framing: tcpd, auth: {methods: [token], tokens: tokens}";
const std::string kA(64, 'a'), kB = "0123456789abcdefABCDEF0123456789" + std::string(32, '0');

Loaded load_tokens(const std::string& tokens) {
    return load_snapshot(snapshot_of({{"tcpd.yaml", with_listener(kAuth)}, {"tokens", tokens}}));
}

std::vector<Token> tokens_of(const std::string& tokens) {
    const Loaded loaded = load_tokens(tokens);
    BOOST_REQUIRE_EQUAL(problems_of(loaded), "");
    return loaded.config.listeners[0].auth.tokens;
}

std::string complaints(const std::string& tokens) { return problems_of(load_tokens(tokens)); }

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_listener_tokens)

BOOST_AUTO_TEST_CASE(lines) {
    const std::vector<Token> tokens = tokens_of("# who\n\n  alice:" + kA + "\r\n\t# more\nalice:" + kB +
                                                "  # laptop\n#:\n~!#:" + std::string(64, 'C'));
    BOOST_REQUIRE(tokens.size() == 3U);
    BOOST_TEST(tokens[0].identity == "alice");
    BOOST_TEST(tokens[1].identity == "alice");
    BOOST_TEST(tokens[2].identity == "~!#");
    BOOST_TEST(tokens[0].sha256[31] == 0xAA);
    BOOST_TEST(tokens[1].sha256[0] == 0x01);
    BOOST_TEST(tokens[1].sha256[8] == 0xAB);
    BOOST_TEST(tokens[1].sha256[15] == 0x89);
    BOOST_TEST(tokens[1].sha256[31] == 0);
    BOOST_TEST(tokens[2].sha256[0] == 0xCC);
}

BOOST_AUTO_TEST_CASE(identities) {
    BOOST_TEST(tokens_of(std::string(47, 'x') + ":" + kA)[0].identity.size() == 47U);
    BOOST_TEST(complaints(std::string(48, 'x') + ":" + kA) ==
               "tokens:1:1: the identity has 48 bytes (1 to 47)\n");
    BOOST_TEST(complaints("# x\n :" + kA) == "tokens:2:2: the identity has 0 bytes (1 to 47)\n");
    for (const std::string odd : {"a b", "a\tb", "a\x7f", "a\x01", "a\xc3\xa9"})
        BOOST_TEST(complaints(odd + ":" + kA) ==
                   "tokens:1:2: the identity has a character in it that it may not have (printable ASCII, no "
                   "space)\n");
    BOOST_TEST(
        complaints(std::string("a\0b:", 4) + kA).starts_with("tokens:1:2: the identity has a character"));
}

BOOST_AUTO_TEST_CASE(hashes) {
    BOOST_TEST(complaints("a:") == "tokens:1:3: the hash has 0 digits (a SHA-256 has 64)\n");
    BOOST_TEST(complaints("a:" + kA.substr(1)) == "tokens:1:3: the hash has 63 digits (a SHA-256 has 64)\n");
    BOOST_TEST(complaints("a:" + kA + "a") == "tokens:1:3: the hash has 65 digits (a SHA-256 has 64)\n");
    const std::string odd = "the hash is not in hexadecimal (printf %s TOKEN | sha256sum makes one)\n";
    BOOST_TEST(complaints("a:" + kA.substr(1) + "g") == "tokens:1:66: " + odd);
    BOOST_TEST(complaints("a: " + kA) == "tokens:1:3: " + odd);
    BOOST_TEST(complaints("a:" + kA + ":x") == "tokens:1:67: " + odd);
    BOOST_TEST(complaints("secret") ==
               "tokens:1:1: is no identity:sha256-hex, it has no colon (a comment begins with #)\n");
}

BOOST_AUTO_TEST_CASE(a_token_stands_for_one_identity) {
    const std::string again = " again (which identity would it be?)\n";
    BOOST_TEST(complaints("a:" + kA + "\n\nb:" + std::string(64, 'A') + "\n a:" + kA + "\n") ==
               "tokens:3:1: has the hash of line 1" + again + "tokens:4:2: has the hash of line 1" + again);
}

BOOST_AUTO_TEST_CASE(files_without_any) {
    const std::string none =
        "tcpd.yaml:1:96: listeners.a.auth.tokens: \"tokens\" has no token in it (a line for each, "
        "identity:sha256-hex)\n";
    for (const char* text : {"", "\n\n", "# alice:x", " \r\n"}) BOOST_TEST(complaints(text) == none, text);
    BOOST_TEST(
        problems_in(with_listener(kAuth)) ==
        "tcpd.yaml:1:96: listeners.a.auth.tokens: \"tokens\" cannot be read: it is not in the bundle\n");
}

// What stands in the file could be a token itself.
BOOST_AUTO_TEST_CASE(no_complaint_and_no_dump_quotes_the_file) {
    const std::string secret = "s3cret";
    for (const std::string& text :
         {secret, "a:" + secret, secret + ":x", "a:b:" + secret, ":" + secret, secret + " :" + kA,
          "a:" + kA + "\n" + secret + ":" + kA, secret + "\xff:", std::string(60, 'x') + secret + ":"})
        BOOST_TEST((complaints(text) != "" && complaints(text).find(secret) == std::string::npos), text);
    const std::string text = dump(load_tokens(secret + ":" + kA).config);
    BOOST_TEST((text.find(secret) == std::string::npos && text.find(kA) == std::string::npos));
}

BOOST_AUTO_TEST_CASE(a_path_is_relative_to_the_file_that_names_it_and_may_be_shared) {
    const std::string other =
        "listeners: {b: {listen: 127.0.0.1:1, handler: echo, framing: tcpd, auth: {methods: "
        "token, tokens: ../tokens}}}";
    const auto load_both = [&](const std::string& tokens) {
        return load_snapshot(snapshot_of({{"tcpd.yaml", "include: sub/b.yaml\n" + with_listener(kAuth)},
                                          {"sub/b.yaml", other},
                                          {"tokens", tokens}}));
    };
    const Loaded loaded = load_both("me:" + kA);
    BOOST_TEST(problems_of(loaded) == "");
    BOOST_TEST((loaded.config.listeners[0].auth == loaded.config.listeners[1].auth));
    BOOST_TEST(problems_of(load_both("a:")) == "tokens:1:3: the hash has 0 digits (a SHA-256 has 64)\n");
}

BOOST_AUTO_TEST_CASE(problems_of_several_files_stand_together) {
    const std::string other =
        "listeners: {b: {listen: 127.0.0.1:1, handler: echo, framing: tcpd, auth: {methods: token, tokens: "
        "more}}}";
    BOOST_TEST(
        problems_of(load_snapshot(snapshot_of({{"tcpd.yaml", "include: b.yaml\n" + with_listener(kAuth)},
                                               {"b.yaml", other},
                                               {"tokens", "a:\n\nb:"},
                                               {"more", "\nc:"}}))) ==
        "tokens:1:3: the hash has 0 digits (a SHA-256 has 64)\n"
        "tokens:3:3: the hash has 0 digits (a SHA-256 has 64)\n"
        "more:2:3: the hash has 0 digits (a SHA-256 has 64)\n");
}

BOOST_AUTO_TEST_CASE(what_is_too_much) {
    std::string large = "a:" + kA + "\n";
    large.resize(8 * 1024 * 1024, '#');
    BOOST_TEST(
        complaints(large) ==
        "tcpd.yaml:1:96: listeners.a.auth.tokens: up to \"tokens\" the files have more than 8MiB together\n");
    std::string bad;
    for (int at = 0; at < 40'000; ++at) bad += "x\n";
    BOOST_TEST(load_tokens(bad).problems.size() == 1001U);
}

BOOST_AUTO_TEST_CASE(a_file_with_every_byte_damaged) {
    const std::string fine = "# who\nme:" + kA + " # x\r\n\nyou:" + kB;
    for (size_t at = 0; at <= fine.size(); ++at)
        for (const char byte : std::string("\0\n\t :#a~\xff", 9)) {
            std::string damaged = fine;
            damaged.insert(at, 1, byte);
            for (const Problem& problem : load_tokens(damaged).problems)
                BOOST_REQUIRE((problem.file == "/etc/tcpd/tokens" && problem.line > 0 && problem.column > 0));
            load_tokens(fine.substr(0, at) + byte);
        }
}

BOOST_AUTO_TEST_CASE(a_mode_that_is_too_loose_is_warned_of) {
    const Folder folder;
    folder.write("main.yaml", with_listener(kAuth));
    folder.write("tokens", "me:" + kA);
    const auto warnings_with = [&](mode_t mode) {
        BOOST_REQUIRE(::chmod((folder / "tokens").c_str(), mode) == 0);
        FileSource source;
        std::string all;
        for (const std::string& warning : load(source, folder / "main.yaml").warnings)
            if (warning.starts_with(folder / "tokens")) all += warning.substr(folder.path().size());
        return all;
    };
    for (const mode_t fine : {0640U, 0600U, 0400U, 0440U, 0750U}) BOOST_TEST(warnings_with(fine) == "", fine);
    for (const char* loose : {"0644", "0660", "0641", "0642", "0777"})
        BOOST_TEST(warnings_with(static_cast<mode_t>(std::stoul(loose, nullptr, 8))) ==
                   std::string("/tokens: warning: its mode is ") + loose +
                       ", and tokens are for tcpd alone (chmod 0640, or less)");
}

BOOST_AUTO_TEST_CASE(a_fifo_or_a_device_is_an_error_at_once_and_its_mode_no_matter) {
    const Folder folder;
    folder.write("main.yaml", with_listener(kAuth));
    BOOST_REQUIRE(::mkfifo((folder / "tokens").c_str(), 0666) == 0);
    const auto check = [&] {
        FileSource source;
        const Loaded loaded = load(source, folder / "main.yaml", Purpose::check);
        BOOST_TEST(loaded.warnings.empty());
        BOOST_REQUIRE(loaded.problems.size() == 1U);
        BOOST_TEST(loaded.problems.front().message.find("it is not a regular file") != std::string::npos);
    };
    check();
    folder.write("main.yaml",
                 with_listener(
                     "listen: 127.0.0.1:7000, handler: echo, framing: tcpd, auth: {methods: [token], tokens: "
                     "/dev/zero}"));
    check();
}

BOOST_AUTO_TEST_CASE(a_slot_has_them_from_the_bundle) {
    const Folder folder;
    folder.write("main.yaml", with_listener(kAuth));
    folder.write("tokens", "me:" + kA);
    FileSource files;
    const Loaded from_files = load(files, folder / "main.yaml");
    BOOST_TEST(from_files.problems.empty());
    const Result<UniqueFd> bundle = make_bundle(files.snapshot());
    std::filesystem::remove_all(folder.path());
    const Loaded from_bundle = *load_bundle(bundle->get());
    BOOST_TEST(from_bundle.problems.empty());
    BOOST_TEST(from_bundle.config.listeners.at(0).auth.tokens.at(0).identity == "me");
    BOOST_TEST((from_bundle.config == from_files.config));
}

BOOST_AUTO_TEST_SUITE_END()
