// Each request gets its one reply, in order: errors of the daemon's own stand between those of an upstream
// that the test plays, where the frame that they answer stood.

#include <boost/test/unit_test.hpp>

#include "tests/support/proxied_frames.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;

namespace {

// What is refused, and the connection kept; `send_refused` makes so many errors that each code says enough.
const std::string kRefused = frame_bytes(ControlType::close, "a CLOSE has none");

Frame request(unsigned number) { return {kType, "request " + std::to_string(number)}; }
Frame reply(unsigned number) { return {kType, "reply " + std::to_string(number)}; }

std::string refused(unsigned count) {
    std::string bytes;
    for (unsigned i = 0; i < count; ++i) bytes += kRefused;
    return bytes;
}

void take_requests(FramedClient& server, unsigned first, unsigned end) {
    for (unsigned i = first; i < end; ++i) BOOST_REQUIRE_EQUAL(server.receive_frame(), request(i));
}

void expect_errors(FramedClient& client, unsigned count) {
    for (unsigned i = 0; i < count; ++i) client.expect_error(worker::FrameError::malformed);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(framed_proxy_order)

BOOST_AUTO_TEST_CASE(an_error_waits_for_the_replies_before_it) {
    for (const bool changes_hands : {false, true}) {
        Proxied it;
        it.client.send(bytes_of({request(0), request(1)}) + kRefused + bytes_of({request(2)}) + refused(2) +
                       frame_bytes(ControlType::ping, "overtakes"));
        take_requests(it.server, 0, 3);
        BOOST_CHECK_EQUAL(it.client.receive_frame(), pong("overtakes"));
        if (changes_hands) it.daemon.change_hands();
        it.server.send(bytes_of({reply(0)}));
        BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(0));
        it.settle();
        BOOST_CHECK(!it.client.has_input());
        if (changes_hands) it.daemon.change_hands();
        it.server.send(bytes_of({reply(1)}));
        BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(1));
        it.client.expect_error(worker::FrameError::malformed);
        it.settle();
        BOOST_CHECK(!it.client.has_input());
        it.server.send(bytes_of({reply(2)}));
        BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(2));
        expect_errors(it.client, 2);
        // Nothing is owed any more.
        it.client.send(kRefused);
        it.client.expect_error(worker::FrameError::malformed);
        it.daemon.check_nothing_lost();
    }
}

// One read of the daemon has all replies, and errors lie in the middle.
BOOST_AUTO_TEST_CASE(replies_that_come_at_once) {
    Proxied it;
    std::string replies;
    for (unsigned i = 0; i < 40; ++i) {
        it.client.send(bytes_of({request(i)}) + refused(i % 3));
        // An event nobody asked for takes nobody's place.
        replies += bytes_of({{type_of(ControlType::push), "event"}, reply(i)});
    }
    take_requests(it.server, 0, 40);
    it.server.send(replies);
    for (unsigned i = 0; i < 40; ++i) {
        BOOST_REQUIRE_EQUAL(it.client.receive_frame(), (Frame{type_of(ControlType::push), "event"}));
        BOOST_REQUIRE_EQUAL(it.client.receive_frame(), reply(i));
        expect_errors(it.client, i % 3);
    }
}

BOOST_AUTO_TEST_CASE(behind_a_reply_that_is_passed_on) {
    for (const bool changes_hands : {false, true}) {
        Proxied it(", max_frame: 2MiB");
        it.client.send(bytes_of({request(0)}));
        take_requests(it.server, 0, 1);
        const std::string reply_bytes = frame_bytes(kType, payload_of(200'000));
        it.client.send(bytes_of({request(1)}) + refused(3));
        take_requests(it.server, 1, 2);
        it.server.send(frame_bytes(kType, "first") + reply_bytes.substr(0, 100'000));
        BOOST_CHECK_EQUAL(it.client.receive_frame(), (Frame{kType, "first"}));
        BOOST_CHECK(it.client.receive(100'000) == reply_bytes.substr(0, 100'000));
        if (changes_hands) it.daemon.change_hands();
        it.server.send(reply_bytes.substr(100'000));
        BOOST_CHECK(it.client.receive(reply_bytes.size() - 100'000) == reply_bytes.substr(100'000));
        expect_errors(it.client, 3);
    }
}

// Many more than a small chunk holds, or one answer of the daemon.
BOOST_AUTO_TEST_CASE(thousands_of_errors) {
    for (const bool changes_hands : {false, true}) {
        Proxied it;
        it.client.send(bytes_of({request(0)}) + refused(1000) + bytes_of({request(1)}) + refused(2000));
        take_requests(it.server, 0, 2);
        it.settle();
        if (changes_hands) it.daemon.change_hands();
        it.server.send(bytes_of({reply(0), reply(1)}));
        BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(0));
        expect_errors(it.client, 1000);
        BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(1));
        expect_errors(it.client, 2000);
        it.daemon.check_nothing_lost();
    }
}

// Nobody makes the daemon remember without end: the last error is that, in its place.
BOOST_AUTO_TEST_CASE(more_errors_than_are_remembered) {
    Proxied it;
    constexpr unsigned kRemembered = 64 * 1024 / 8;
    it.client.send(bytes_of({request(0)}) + refused(kRemembered + 1));
    take_requests(it.server, 0, 1);
    it.server.expect_end();
    it.server.send(bytes_of({reply(0)}));
    it.server.close();
    BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(0));
    expect_errors(it.client, kRemembered);
    it.client.expect_last_error(worker::FrameError::unavailable);
    it.wait_closed("shed");
}

BOOST_AUTO_TEST_CASE(too_many_messages) {
    Proxied it(", limits: {message_rate: 2/m}");
    for (unsigned i = 0; i < 5; ++i) it.client.send(bytes_of({request(i)}));
    take_requests(it.server, 0, 2);
    it.settle();
    BOOST_CHECK(!it.client.has_input());
    it.server.send(bytes_of({reply(0), reply(1)}));
    BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(0));
    BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(1));
    for (int i = 0; i < 3; ++i) it.client.expect_error(worker::FrameError::too_many);
}

// An upstream's ERROR is the reply to a request.
BOOST_AUTO_TEST_CASE(an_error_of_the_upstream) {
    Proxied it;
    it.client.send(bytes_of({request(0)}) + kRefused + bytes_of({request(1)}));
    take_requests(it.server, 0, 2);
    const Frame failed{type_of(ControlType::error), std::string("\x01\xF4the upstream's", 16)};
    it.server.send(bytes_of({failed, reply(1)}));
    BOOST_CHECK_EQUAL(it.client.receive_frame(), failed);
    it.client.expect_error(worker::FrameError::malformed);
    BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(1));
}

BOOST_AUTO_TEST_CASE(an_end_before_their_place_came) {
    const auto errors_and_end = [](FramedClient& client) {
        BOOST_CHECK_EQUAL(client.receive_frame(), reply(0));
        expect_errors(client, 300);
        client.expect_end();
    };
    const std::string sent = bytes_of({request(0), request(1)}) + refused(300);
    {
        Proxied it;
        it.client.send(sent);
        take_requests(it.server, 0, 2);
        it.settle();
        it.server.send(bytes_of({reply(0)}));
        it.server.end_output();
        errors_and_end(it.client);
        it.client.close();
        it.server.expect_end();
    }
    {
        Proxied it;
        it.client.send(sent + frame_bytes(ControlType::close));
        take_requests(it.server, 0, 2);
        it.server.expect_end();
        it.server.send(bytes_of({reply(0)}));
        it.server.close();
        errors_and_end(it.client);
        it.wait_closed("goodbye");
    }
    {
        Proxied it(", timeouts: {half_close: 1s}");
        it.client.send(sent);
        it.client.end_output();
        take_requests(it.server, 0, 2);
        it.server.send(bytes_of({reply(0)}));
        errors_and_end(it.client);
    }
}

// Their place is behind the reply that is on its way, in front of the next one, however the two are cut.
BOOST_AUTO_TEST_CASE(errors_while_a_reply_is_on_its_way) {
    for (const unsigned count : {1U, 500U}) {
        Proxied it(", max_frame: 2MiB");
        it.client.send(bytes_of({request(0)}));
        take_requests(it.server, 0, 1);
        const std::string first = frame_bytes(kType, payload_of(200'000)), second = bytes_of({reply(1)});
        it.server.send(first.substr(0, 100'000));
        BOOST_CHECK(it.client.receive(100'000) == first.substr(0, 100'000));
        it.client.send(refused(count) + bytes_of({request(1)}));
        take_requests(it.server, 1, 2);
        it.server.send(first.substr(100'000) + second.substr(0, 14));
        BOOST_CHECK(it.client.receive(first.size() - 100'000) == first.substr(100'000));
        expect_errors(it.client, count);
        it.server.send(second.substr(14));
        BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(1));
    }
}

// More than the client's socket takes is still to go out when the upstream has ended.
BOOST_AUTO_TEST_CASE(an_end_that_a_slow_client_reads) {
    for (const bool client_ends : {false, true}) {
        Proxied it("", {.receive_buffer = 4096, .segment = 1460});
        const Frame event{type_of(ControlType::push), payload_of(1000)};
        it.client.send(bytes_of({request(0), request(1)}) + refused(6000));
        if (client_ends) it.client.end_output();
        take_requests(it.server, 0, 2);
        it.settle();
        std::string events;
        for (int i = 0; i < 200; ++i) events += bytes_of({event});
        it.server.send(events);
        it.server.close();
        it.settle();
        for (int i = 0; i < 200; ++i) BOOST_REQUIRE_EQUAL(it.client.receive_frame(), event);
        expect_errors(it.client, 6000);
        it.client.expect_end();
    }
}

// The one that is too many is told so in its place, also where only its begin has come.
BOOST_AUTO_TEST_CASE(half_a_frame_that_is_one_too_many) {
    Proxied it(", limits: {message_rate: 2/m}");
    constexpr unsigned kRemembered = 64 * 1024 / 8;
    it.client.send(bytes_of({request(0), request(1)}));
    take_requests(it.server, 0, 2);
    std::string refused_requests;
    for (unsigned i = 0; i < kRemembered; ++i) refused_requests += frame_bytes(kType);
    it.client.send(refused_requests + frame_bytes(kType, payload_of(500)).substr(0, 50));
    it.server.expect_end();
    it.server.send(bytes_of({reply(0), reply(1)}));
    it.server.close();
    BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(0));
    BOOST_CHECK_EQUAL(it.client.receive_frame(), reply(1));
    for (unsigned i = 0; i < kRemembered; ++i) it.client.expect_error(worker::FrameError::too_many);
    it.client.expect_last_error(worker::FrameError::unavailable);
    it.wait_closed("shed");
}

BOOST_AUTO_TEST_SUITE_END()
