// Servers that answer in another shape than they are asked: `replies` of a framing. Who is killed in between
// changes nothing.

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "tests/support/proxied_frames.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

std::string declared(const std::string& replies) {
    return "framings: {login: {magic: {bytes: \"4C\"}, length: {offset: 1, size: 1}, replies: " + replies +
           "}, nul: {delimiter: \"00\", max_frame: 100KiB}, ack: {fixed: 1B}}\n";
}

struct Asked : Proxied {
    explicit Asked(const std::string& replies) : Proxied("", {}, declared(replies), "login") {}
    // The one worker has handled whatever was sent before.
    void settle() { check_passed(bystander, server_of_bystander); }
    static void check_passed(FramedClient& client, FramedClient& server,
                             const std::string& text = "settled?") {
        client.send("L" + std::string(1, static_cast<char>(text.size())) + text);
        BOOST_REQUIRE_EQUAL(server.receive(text.size() + 2).substr(2), text);
    }
    void expect_nothing(FramedClient& at) {
        settle();
        BOOST_REQUIRE(!at.has_input());
    }
    void reload(const std::string& replies) const {
        std::ofstream(daemon.config_path()) << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\n"
                                            << proxy_config(upstream.text(), "", declared(replies), "login");
        const Output output = daemon.verb("reload");
        BOOST_REQUIRE_MESSAGE(output.exit == 0, output.err);
    }
};

const std::string kHalf = "half ", kRest = std::string("of it\0", 6);

}  // namespace

BOOST_AUTO_TEST_SUITE(framed_proxy_replies)

BOOST_AUTO_TEST_CASE(one_byte_answers_a_login) {
    for (const char* replies : {"ack", "raw"}) {
        Asked it(replies);
        for (int round = 0; round < 3; ++round) {
            it.client.send(std::string("L\x05wh", 4));
            it.expect_nothing(it.server);
            if (round == 1) it.daemon.change_hands();
            it.client.send("ole");
            BOOST_CHECK_EQUAL(it.server.receive(7), "L\x05whole");
            it.server.send("\x01");
            BOOST_CHECK_EQUAL(it.client.receive(1), "\x01");
        }
        it.server.send("\x01\x02\x03");
        BOOST_CHECK_EQUAL(it.client.receive(3), "\x01\x02\x03");
        it.client.end_output();
        it.server.expect_end();
        it.server.send("\x04");
        it.server.close();
        BOOST_CHECK_EQUAL(it.client.receive_all(), "\x04");
        it.wait_closed("finished");
        it.daemon.check_nothing_lost();
    }
}

BOOST_AUTO_TEST_CASE(replies_are_whole_frames_of_their_own) {
    Asked it("nul");
    for (const bool is_killed : {false, true}) {
        it.server.send(kHalf);
        it.expect_nothing(it.client);
        if (is_killed) it.daemon.change_hands();
        it.server.send(kRest + kHalf);
        BOOST_CHECK(it.client.receive(11) == kHalf + kRest);
        it.expect_nothing(it.client);
        it.server.send(kRest);
        BOOST_CHECK(it.client.receive(11) == kHalf + kRest);
    }
    // Longer than is gathered: it is passed on as it comes.
    it.server.send(std::string(90'000, 'x'));
    BOOST_CHECK(it.client.receive(90'000) == std::string(90'000, 'x'));
    it.daemon.kill_worker(0);
    it.server.send(kRest);
    BOOST_CHECK(it.client.receive(6) == kRest);
    // The limit is the one of what comes back.
    it.server.send(std::string(110'000, 'x'));
    it.wait_closed("upstream_malformed");
    BOOST_CHECK_EQUAL(it.daemon.count_in_err("is not nul: too long"), 1U);
    it.daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(what_is_not_cut_waits_for_nothing) {
    Asked it("raw");
    for (const bool is_killed : {false, true}) {
        Ends ends = it.another();
        it.check_passed(ends.client, ends.server);
        for (const char* piece : {"a", "bc", "def"}) {
            ends.server.send(piece);
            BOOST_CHECK_EQUAL(ends.client.receive(strlen(piece)), piece);
        }
        // Its own stream is cut all the same, and an answer is awaited to its end.
        ends.client.send("no login");
        ends.server.expect_end();
        if (is_killed) it.daemon.change_hands();
        ends.server.send("the last");
        ends.server.close();
        BOOST_CHECK_EQUAL(ends.client.receive_all(), "the last");
    }
    it.wait_closed("malformed", 2);
    const std::string much = payload_of(3'000'000);
    const std::jthread sending([&] {
        it.server.send(much);
        it.server.end_output();
    });
    BOOST_CHECK(it.client.receive(1'000'000) == much.substr(0, 1'000'000));
    it.daemon.kill_worker(0);
    BOOST_CHECK(it.client.receive_all() == much.substr(1'000'000));
    it.daemon.check_nothing_lost();
}

// Those that are there drain as they were cut before.
BOOST_AUTO_TEST_CASE(a_reload_changes_them_for_new_connections) {
    Asked it("nul");
    it.server.send(kHalf);
    it.reload("raw");
    Ends raw = it.another();
    it.check_passed(raw.client, raw.server);
    raw.server.send(kHalf);
    BOOST_CHECK_EQUAL(raw.client.receive(kHalf.size()), kHalf);
    it.daemon.kill_worker(0);
    it.expect_nothing(it.client);
    it.server.send(kRest);
    BOOST_CHECK(it.client.receive(11) == kHalf + kRest);
    raw.server.send(kHalf);
    BOOST_CHECK_EQUAL(raw.client.receive(kHalf.size()), kHalf);
    it.daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
