// `tcpd --decode` as it is called: from standard input to the exit code.

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "tests/support/child_process.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

Output decode(const std::string& framing, const std::string& printf_text,
              const std::string& config = "/none") {
    return run({"bash", "-c", "printf \"$1\" | \"$2\" --decode \"$3\" -c \"$4\"", "bash", printf_text,
                tested_program(), framing, config});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(decode_bytes)

BOOST_AUTO_TEST_CASE(whole_frames_and_a_broken_stream) {
    const Output whole = decode("line", "one\\r\\ntwo\\n");
    BOOST_CHECK_EQUAL(whole.exit, 0);
    BOOST_CHECK(whole.out.ends_with("2 frames, 9 of 9 bytes\n"));
    const Output broken = decode("tcpd", "GET / HTTP/1.1\\r\\n");
    BOOST_CHECK_EQUAL(broken.exit, 65);
    BOOST_CHECK(broken.out.find("looks like HTTP") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_declared_framing_and_a_hex_dump) {
    const TempDir folder;
    const std::string config = folder / "tcpd.yaml";
    std::ofstream(config) << "framings: {two: {length: {size: 2}}}\n"
                             "listeners: {echo: {listen: 127.0.0.1:1, handler: echo}}\n";
    const Output output = decode("two", "00 02 68 69\\n", config);
    BOOST_CHECK_EQUAL(output.exit, 0);
    BOOST_CHECK(output.out.find("length 2      68 69  |hi|") != std::string::npos);
    const Output unknown = decode("tow", "", config);
    BOOST_CHECK_EQUAL(unknown.exit, 64);
    BOOST_CHECK(unknown.err.find("did you mean two?") != std::string::npos);
    BOOST_CHECK_EQUAL(decode("two", "", folder / "missing.yaml").exit, 78);
}

BOOST_AUTO_TEST_CASE(digits_are_what_the_framing_cuts) {
    const TempDir folder;
    const std::string config = folder / "tcpd.yaml";
    std::ofstream(config) << "framings: {two: {length: {size: 2}}}\n";
    const auto given = [&](const std::string& options) {
        return run({"bash", "-c", "printf '0002\n3132\n' | \"$1\" --decode " + options + " -c \"$2\"", "bash",
                    tested_program(), config});
    };
    BOOST_CHECK(given("line").out.ends_with("2 frames, 10 of 10 bytes\n"));
    BOOST_CHECK(given("two").out.ends_with("1 frame, 4 of 4 bytes\n"));
    BOOST_CHECK_EQUAL(given("line --hex").exit, 65);
    BOOST_CHECK_EQUAL(given("two --raw").exit, 65);
    BOOST_CHECK_EQUAL(given("two --raw --hex").exit, 64);
    BOOST_CHECK_EQUAL(run({tested_program(), "--hex"}).exit, 64);
}

BOOST_AUTO_TEST_SUITE_END()
