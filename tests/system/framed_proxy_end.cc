// How frames that go on to an upstream end: replies in flight come first, whoever ends, and then the end
// without RST; who may not begin; what a drain leaves time for. The test plays the upstream.

#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <thread>

#include "tests/support/fake_upstream.h"
#include "tests/support/proxied_frames.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;
using worker::FrameError;

namespace {

// Orderly or not.
bool ends_without_a_byte(const FramedClient& client) {
    char byte;
    const ssize_t got = recv(client.fd(), &byte, 1, 0);
    return got == 0 || (got < 0 && errno != EAGAIN);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(framed_proxy_end)

// What ends a client's requests: CLOSE, or bytes that are no frame.
void check_replies_come_before_the_end(bool is_goodbye, bool changes_hands, bool is_streamed) {
    Proxied it;
    const std::vector<Frame> requests = frames(200);
    std::vector<Frame> replies = frames(200, 3);
    if (is_streamed) replies[0].payload = payload_of(200'000);
    const std::string bytes = bytes_of(replies);
    it.client.send(bytes_of(requests));
    check_same(it.server, requests);
    // All that is whole, or streams, comes before the rest is there.
    const size_t early = is_streamed ? 150'000 : bytes.size() / 2, seen = early - 1000;
    it.server.send(bytes.substr(0, early));
    BOOST_CHECK(it.client.receive(seen) == bytes.substr(0, seen));
    it.client.send(is_goodbye ? frame_bytes(ControlType::close) : "GET / HTTP/1.1\r\n\r\n");
    it.client.send(bytes_of(frames(500)));
    it.server.expect_end();
    if (changes_hands) it.daemon.change_hands();
    const std::jthread rest([&] {
        it.server.send(std::string_view(bytes).substr(early));
        it.server.close();
    });
    BOOST_CHECK(it.client.receive(bytes.size() - seen) == bytes.substr(seen));
    is_goodbye ? it.client.expect_end() : (void)it.client.expect_last_error(FrameError::malformed);
    it.client.close();
    it.wait_closed(is_goodbye ? "goodbye" : "malformed");
    it.daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(replies_in_flight_come_before_the_end) {
    for (const bool is_goodbye : {true, false}) {
        for (const bool changes_hands : {false, true}) {
            check_replies_come_before_the_end(is_goodbye, changes_hands, false);
            check_replies_come_before_the_end(is_goodbye, changes_hands, true);
        }
    }
}

// It waits for the end of the request that is passed on, which is the end of the upstream's input as well.
BOOST_AUTO_TEST_CASE(a_pong_for_the_upstream_behind_the_last_request) {
    const std::string request = frame_bytes(kType, payload_of(200'000));
    for (const bool is_goodbye : {false, true}) {
        for (const bool changes_hands : {false, true}) {
            Proxied it;
            it.client.send(request.substr(0, 100'000));
            BOOST_CHECK(it.server.receive(100'000) == request.substr(0, 100'000));
            it.server.send_frame(ControlType::ping, "still?");
            it.settle();
            if (changes_hands) it.daemon.change_hands();
            it.client.send(request.substr(100'000) + (is_goodbye ? frame_bytes(ControlType::close) : ""));
            if (!is_goodbye) it.client.end_output();
            BOOST_CHECK(it.server.receive(request.size() - 100'000) == request.substr(100'000));
            BOOST_CHECK_EQUAL(it.server.receive_frame(), pong("still?"));
            it.server.expect_end();
            it.server.send_frame(kType, "reply");
            it.server.close();
            BOOST_CHECK_EQUAL(it.client.receive_frame(), (Frame{kType, "reply"}));
            it.client.expect_end();
            it.client.close();
            it.wait_closed(is_goodbye ? "goodbye" : "finished");
            it.daemon.check_nothing_lost();
        }
    }
}

// More than are kept until the end of a reply.
struct ManyPings : Proxied {
    const std::string reply = frame_bytes(kType, payload_of(300'000));
    explicit ManyPings(const std::string& behind = "")
        : Proxied("", {}, "drain: {stop: 1m, spread: false}\n") {
        client.send_frame(kType, "request");
        BOOST_CHECK_EQUAL(server.receive_frame(), (Frame{kType, "request"}));
        server.send(reply.substr(0, 100'000));
        BOOST_CHECK(client.receive(100'000) == reply.substr(0, 100'000));
        std::string pings;
        for (unsigned i = 0; i < 500; ++i) pings += frame_bytes(ControlType::ping, text(i));
        client.send(pings + behind);
        settle();
    }
    static std::string text(unsigned i) { return std::to_string(1000 + i) + std::string(60, 'p'); }
    void drain() {
        daemon.send(SIGTERM);
        bystander.expect_goaway();
        settle();
    }
    void send_rest() { server.send(reply.substr(100'000)); }
    // What comes behind the rest of the reply and the PONGs that were kept.
    Frame receive_what_follows() {
        BOOST_CHECK(client.receive(reply.size() - 100'000) == reply.substr(100'000));
        unsigned answered = 0;
        for (;;) {
            const Frame frame = client.receive_frame();
            if (frame == pong(text(answered))) {
                ++answered;
                continue;
            }
            BOOST_CHECK_GT(answered, 40U);
            BOOST_CHECK_LT(answered, 500U);
            return frame;
        }
    }
};

BOOST_AUTO_TEST_CASE(many_pings_while_a_reply_is_passed_on) {
    ManyPings it;
    it.drain();
    it.send_rest();
    BOOST_CHECK(it.receive_what_follows().is(ControlType::goaway));
    it.client.send_frame(ControlType::ping, "one more");
    BOOST_CHECK_EQUAL(it.client.receive_frame(), pong("one more"));
    for (auto* end : {&it.client, &it.server, &it.bystander, &it.server_of_bystander}) end->close();
    BOOST_CHECK_EQUAL(it.daemon.wait_exit(), 0);
}

// Nothing follows it, though a drain began while it waited.
BOOST_AUTO_TEST_CASE(an_error_behind_a_reply_and_many_pongs) {
    for (const bool is_drained : {false, true}) {
        ManyPings it("GET / HTTP/1.1\r\n\r\n");
        if (is_drained) it.drain();
        it.send_rest();
        it.server.close();
        const Frame frame = it.receive_what_follows();
        BOOST_CHECK_MESSAGE(frame.is(ControlType::error), frame);
        it.client.expect_end();
        it.client.close();
        if (!is_drained) it.wait_closed("malformed");
    }
}

// However long, and whatever it sends.
BOOST_AUTO_TEST_CASE(an_upstream_that_stays_after_the_last_reply) {
    Proxied it(", timeouts: {half_close: 0}");
    Ends second = it.another(), third = it.another(), idle = it.another();
    it.client.send(frame_bytes(kType, "request") + frame_bytes(ControlType::close) + "behind it");
    second.client.send(frame_bytes(kType, "request") + "GET / HTTP/1.1\r\n\r\n");
    third.client.send(frame_bytes(kType, "request"));
    third.client.end_output();
    idle.client.send(frame_bytes(ControlType::close));
    const Frame push{type_of(ControlType::push), "news"};
    for (auto* server : {&it.server, &second.server, &third.server}) {
        BOOST_CHECK_EQUAL(server->receive_frame().payload, "request");
        server->expect_end();
        server->send(bytes_of({push, {kType, "reply"}}));
    }
    for (auto* client : {&it.client, &second.client, &third.client}) {
        check_same(*client, {push, {kType, "reply"}});
    }
    for (auto* client : {&it.client, &third.client, &idle.client}) client->expect_end();
    second.client.expect_last_error(FrameError::malformed);
    for (auto* client : {&it.client, &second.client, &idle.client}) client->close();
    it.wait_closed("malformed");
    it.wait_closed("finished");
    it.wait_closed("goodbye", 2);
    idle.server.expect_end();
}

// PUSHes are no answer, and do not make the time longer.
BOOST_AUTO_TEST_CASE(an_upstream_that_does_not_answer_and_goes_on) {
    for (const bool is_goodbye : {true, false}) {
        Proxied it(", timeouts: {half_close: 1s, closing: 500ms}");
        it.client.send(frame_bytes(kType, "request") +
                       (is_goodbye ? frame_bytes(ControlType::close) : "GET / HTTP/1.1\r\n\r\n"));
        BOOST_CHECK_EQUAL(it.server.receive_frame().payload, "request");
        it.server.expect_end();
        Frame last{type_of(ControlType::push), ""};
        try {
            while (last.is(ControlType::push)) {
                it.server.send_frame(ControlType::push, "news");
                last = it.client.receive_frame();
            }
        } catch (const Failed&) {  // the end
            last = is_goodbye ? Frame{} : it.client.receive_frame();
        }
        BOOST_CHECK_EQUAL(last.is(ControlType::error), !is_goodbye);
        it.client.close();
        it.wait_closed(is_goodbye ? "goodbye" : "malformed");
    }
}

// How many replies a request has is not known where the protocol is another one: a greeting came first.
BOOST_AUTO_TEST_CASE(replies_of_another_protocol_come_before_the_end) {
    for (const bool upstream_stays : {false, true}) {
        const std::string half_close = upstream_stays ? "300ms" : "1m";
        Proxied it(", max_frame: 1KiB, timeouts: {half_close: " + half_close + "}", {}, "", "line");
        it.server.send("220 hello\r\n");
        BOOST_CHECK_EQUAL(it.client.receive(11), "220 hello\r\n");
        it.client.send("do it\r\n" + std::string(3000, 'x'));
        BOOST_CHECK_EQUAL(it.server.receive(7), "do it\r\n");
        it.server.expect_end();
        it.server.send("250 done\r\n");
        if (!upstream_stays) it.server.close();
        BOOST_CHECK_EQUAL(it.client.receive_all(), "250 done\r\n");
        it.client.close();
        it.wait_closed("too_long");
    }
}

BOOST_AUTO_TEST_CASE(a_malformed_reply) {
    Proxied it;
    it.client.send_frame(kType, "request");
    it.server.send(frame_bytes(kType, "reply") + "+OK not a frame");
    BOOST_CHECK_EQUAL(it.client.receive_frame(), (Frame{kType, "reply"}));
    it.client.expect_last_error(FrameError::failed);
    it.client.close();
    it.wait_closed("upstream_malformed");
}

// No ERROR, and no PONG, has a place inside a frame.
BOOST_AUTO_TEST_CASE(a_streamed_reply_that_is_cut) {
    Proxied it;
    const std::string part = header_bytes(kType, 200'000) + payload_of(100'000);
    for (const bool is_reset : {false, true}) {
        Ends ends = it.another();
        ends.server.send(part);
        BOOST_CHECK(ends.client.receive(part.size()) == part);
        ends.client.send_frame(ControlType::ping);
        it.settle();
        is_reset ? ends.server.reset() : ends.server.close();
        BOOST_CHECK(ends_without_a_byte(ends.client));
    }
    Proxied other("", {}, "framings: {nul: {delimiter: '00', max_frame: 100KiB}}\n", "nul");
    other.server.send(std::string(90'000, 'x'));
    BOOST_CHECK(other.client.receive(90'000) == std::string(90'000, 'x'));
    other.server.send(std::string(90'000, 'x'));
    BOOST_CHECK(other.client.wait_end() != Ending::timed_out);
    other.client.close();
    other.wait_closed("upstream_malformed");
}

BOOST_AUTO_TEST_CASE(a_long_request_that_stalls) {
    for (const bool is_answered_first : {true, false}) {
        Proxied it(", timeouts: {frame: 300ms, half_close: 0}");
        const std::string part = header_bytes(kType, 200'000) + payload_of(100'000);
        it.client.send(frame_bytes(kType, "whole") + part);
        BOOST_CHECK_EQUAL(it.server.receive_frame().payload, "whole");
        BOOST_CHECK(it.server.receive(part.size()) == part);
        if (is_answered_first) it.server.send_frame(kType, "reply");
        it.server.expect_end();
        if (!is_answered_first) it.server.send_frame(kType, "reply");
        BOOST_CHECK_EQUAL(it.client.receive_frame(), (Frame{kType, "reply"}));
        BOOST_CHECK_EQUAL(it.client.expect_last_error(FrameError::malformed), "the frame stalled");
        it.client.close();
        it.wait_closed("stalled");
    }
}

BOOST_AUTO_TEST_CASE(a_reply_that_stalls) {
    Proxied it(", timeouts: {frame: 300ms}");
    it.client.send_frame(kType, "request");
    it.server.send(frame_bytes(kType, "another") + frame_bytes(kType, payload_of(3000)).substr(0, 1500));
    Ends second = it.another();
    second.client.send(frame_bytes(kType, "request") + frame_bytes(ControlType::close) + "behind it");
    second.server.send(frame_bytes(kType, payload_of(3000)).substr(0, 1500));
    BOOST_CHECK_EQUAL(it.client.receive_frame().payload, "another");
    for (auto* client : {&it.client, &second.client}) {
        client->expect_last_error(FrameError::failed);
        client->close();
    }
    it.wait_closed("stalled", 2);
    Ends third = it.another();
    const std::string part = header_bytes(kType, 200'000) + payload_of(100'000);
    third.server.send(part);
    BOOST_CHECK(third.client.receive(part.size()) == part);
    BOOST_CHECK(ends_without_a_byte(third.client));
}

BOOST_AUTO_TEST_CASE(nobody_listens) {
    const RefusingPort refusing;
    const TestDaemon daemon(proxy_config(refusing.text(), ""));
    FramedClient silent(daemon.address("it"));
    silent.expect_last_error(FrameError::unavailable);
    FramedClient client(daemon.address("it"));
    client.send(bytes_of(frames(100)));
    client.expect_last_error(FrameError::unavailable);
    const TestDaemon other(
        proxy_config(refusing.text(), "", "framings: {dns: {length: {offset: 0, size: 2}}}\n", "dns"));
    BlockingClient resolver(other.address("it"));
    BOOST_CHECK(resolver.wait_end() != Ending::timed_out);
    silent.close();
    client.close();
    for (const auto* one : {&daemon, &other}) {
        const uint64_t expected = one == &daemon ? 2 : 1;
        wait_for("the count", [&] { return one->count("it", "closed upstream_refused") == expected; });
    }
}

// Its server is dialled once, and it is counted for what ended it, however long it stays.
BOOST_AUTO_TEST_CASE(nobody_answers_and_the_client_stays) {
    const SilentPort silent;
    const TestDaemon daemon(proxy_config(silent.text(), "", "", "tcpd", "200ms"));
    FramedClient client(daemon.address("it"));
    client.expect_error(FrameError::unavailable);
    wait_for("its end", [&] { return daemon.open_connections() == 0; });
    BOOST_CHECK_EQUAL(daemon.count("it", "closed upstream_timeout"), 1U);
    BOOST_CHECK_EQUAL(daemon.count("it", "closed upstream_refused"), 0U);
}

BOOST_AUTO_TEST_CASE(a_drain) {
    Proxied it("", {}, "drain: {stop: 5s, spread: false}\n");
    it.client.send_frame(kType, "before");
    BOOST_CHECK_EQUAL(it.server.receive_frame(), (Frame{kType, "before"}));
    it.daemon.send(SIGTERM);
    BOOST_CHECK_GT(it.client.expect_goaway(), 1000U);
    it.server.send_frame(kType, "before");
    BOOST_CHECK_EQUAL(it.client.receive_frame(), (Frame{kType, "before"}));
    it.client.send(bytes_of(frames(20)));
    check_same(it.server, frames(20));
    it.server.expect_end();  // the grace is over
    it.server.send(bytes_of(frames(20, 5)));
    it.server.close();
    check_same(it.client, frames(20, 5));
    it.client.expect_end();
    it.client.close();
    it.bystander.close();
    BOOST_CHECK_EQUAL(it.daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(a_drain_while_long_replies_follow_each_other) {
    Proxied it("", {}, "drain: {stop: 4s, spread: false}\n");
    LongReplies replies(it.server);
    unsigned reply = 0;
    BOOST_REQUIRE_EQUAL(it.client.receive_frame(), LongReplies::nth(reply++));
    it.daemon.send(SIGTERM);
    Frame frame = it.client.receive_frame();
    for (; frame.type == kType; frame = it.client.receive_frame()) {
        BOOST_REQUIRE_EQUAL(frame, LongReplies::nth(reply++));
    }
    BOOST_CHECK(frame.is(ControlType::goaway));
    BOOST_TEST_MESSAGE(reply << " replies before it");
    replies.end();
    for (frame = it.client.receive_frame(); frame.type == kType; frame = it.client.receive_frame()) {
        BOOST_REQUIRE_EQUAL(frame, LongReplies::nth(reply++));
    }
    BOOST_CHECK_EQUAL(frame.payload, "the last");
    it.client.send_frame(ControlType::close);
    it.server.expect_end();
    it.server.close();
    it.client.expect_end();
    for (auto* end : {&it.client, &it.bystander}) end->close();
    BOOST_CHECK_EQUAL(it.daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_SUITE_END()
