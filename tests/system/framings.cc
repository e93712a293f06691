// Frames by their types: handlers discard and routes, and listeners whose framing is not tcpd's own.

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <vector>

#include "tests/support/framed_client.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;
using worker::FrameError;

namespace {

std::string config(const std::string& handler, const std::string& framing = "tcpd") {
    return "workers: 1\nlisteners: {it: {listen: 127.0.0.1:0, framing: " + framing + ", handler: " + handler +
           "}}\n";
}

constexpr const char* kRoutes =
    "{routes: [{types: [1, 0x10-0x1F], handler: echo}, {types: 2, error: 503}, {types: 3, handler: discard, "
    "one_way: true}, {types: 4, error: 429}]}";
constexpr uint32_t kEchoed = 1, kRefused = 2, kOneWay = 3, kLimited = 4, kNoRoute = 5;

// -- framings

// Of conf/examples/framings.yaml; bytes that hold a NUL are written with their number.
template <size_t N>
std::string raw(const char (&text)[N]) {
    return std::string(text, N - 1);
}

struct Sample {
    const char* framing;
    std::string first, second;
    std::string partial;
    std::string broken;  // empty: no stream is
};

const Sample kSamples[] = {
    {"line", "hello\r\n", "\n", "no end", ""},
    {"dns", raw("\0\2hi"), raw("\0\0"), raw("\0\5abc"), ""},
    {"modbus", raw("\0\1\0\0\0\3abc"), raw("\0\2\0\0\0\2\1\3"), raw("\0\2\0\0"), raw("\0\2\0\0\0\xff")},
    {"kafka", raw("\0\0\0\4\0\3ab"), raw("\0\0\0\2\0\3"), raw("\0\0\0\4\0"), raw("\x7f\0\0\0\0")},
    {"mqtt", raw("\x30\3abc"), raw("\x31\0"), raw("\x30\x85"), raw("\x30\xff\xff\xff\xff\xff")},
    {"diameter", raw("\1\0\0\xa\0\0\1\0ab"), raw("\1\0\0\x8\0\0\0\7"), raw("\1\0\0\x8\0\0\0"),
     raw("\1\0\0\3")},
    {"jt808", "~abc~", "~~", "~abc", "abc"},
    {"mysql", raw("\3\0\0\1abc"), raw("\0\0\0\2"), raw("\3\0\0\1ab"), ""},
    {"memcached_reply", raw("\x81\0\0\0\0\0\0\0\0\0\0\3abcdefghijklxyz"),
     raw("\x81\0\0\0\0\0\0\0\0\0\0\0abcdefghijkl"), raw("\x81\0\0\0\0\0\0\0\0\0\0\0abcdefgh"), "\x80"},
    {"nul", raw("abc\0"), raw("\0"), "abc", ""},
    {"block", payload_of(64, 1), payload_of(64, 2), payload_of(63), ""},
};

std::string samples_config() {
    const std::string shipped = read_text(std::string(TCPD_SOURCE_DIR) + "/conf/examples/framings.yaml");
    std::string text = "workers: 1\n" + shipped.substr(0, shipped.find("\nlisteners:")) + "\nlisteners:\n";
    for (const Sample& sample : kSamples) {
        text += std::string("  ") + sample.framing +
                ": {listen: 127.0.0.1:0, handler: echo, framing: " + sample.framing + "}\n";
    }
    return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(framings)

BOOST_AUTO_TEST_CASE(discard_answers_nothing_but_pings) {
    TestDaemon daemon(config("discard"));
    FramedClient client(daemon.address("it"));
    const auto check_silence = [&](const std::string& id) {
        client.send_frame(ControlType::ping, id);
        BOOST_CHECK_EQUAL(client.receive_frame(), (Frame{type_of(ControlType::pong), id}));
    };
    for (unsigned i = 0; i < 300; ++i) client.send_frame(i, payload_of(i * 7, i));
    check_silence("many");
    for (const char byte : frame_bytes(7, "byte by byte")) client.send(std::string_view(&byte, 1));
    check_silence("bytes");
    for (const size_t bytes : {30'000, 70'000, 1 << 20}) client.send_frame(8, payload_of(bytes));
    check_silence("long ones");
    client.send(std::string_view(frame_bytes(9, payload_of(100'000))).substr(0, 80'000));
    client.end_output();
    client.expect_end();
    wait_for("the count", [&] { return daemon.count("it", "closed finished") == 1; });
}

BOOST_AUTO_TEST_CASE(routes_by_type) {
    TestDaemon daemon(config(kRoutes));
    FramedClient client(daemon.address("it"));
    for (const uint32_t type : {kEchoed, 0x10U, 0x15U, 0x1FU}) BOOST_CHECK(client.echoes_frame(type, "x"));
    client.send_frame(kRefused, "x");
    client.expect_error(FrameError::unavailable);
    client.send_frame(kOneWay, "x");
    for (const uint32_t type : {0U, kNoRoute, 0xFU, 0x20U, 0xEFFFU}) {
        client.send_frame(type, "x");
        client.expect_error(FrameError::malformed);
    }
    BOOST_CHECK(client.echoes_frame(kEchoed, "still here"));
}

BOOST_AUTO_TEST_CASE(a_default_takes_the_rest) {
    TestDaemon daemon(config("{routes: [{types: 1, error: 500}, {default: true, handler: echo}]}"));
    FramedClient client(daemon.address("it"));
    for (const uint32_t type : {0U, 2U, 0xEFFFU}) BOOST_CHECK(client.echoes_frame(type, "x"));
    client.send_frame(1, "x");
    client.expect_error(FrameError::failed);
    client.send_frame(ControlType{0xF123}, "no route takes a control frame");
    client.expect_error(FrameError::malformed);
}

// An error takes the place of the frame that it answers. PONGs may overtake: they have an order of their own.
BOOST_AUTO_TEST_CASE(replies_come_in_the_order_of_requests) {
    TestDaemon daemon(config(kRoutes));
    FramedClient client(daemon.address("it"));
    std::string bytes;
    std::vector<Frame> replies, pongs;
    for (unsigned i = 0; i < 500; ++i) {
        const std::string payload = payload_of(i % 9 == 0 ? 5000 : i % 50 == 7 ? 70'000 : i % 60, i);
        const uint32_t type = 1 + i * 11 % 6;
        if (type == 6) {
            bytes += frame_bytes(ControlType::ping, payload.substr(0, 60));
            pongs.push_back({type_of(ControlType::pong), payload.substr(0, 60)});
            continue;
        }
        bytes += frame_bytes(type, payload);
        if (type == kEchoed) replies.push_back({type, payload});
        if (type == kRefused) replies.push_back({type_of(ControlType::error), "\x01\xf7"});
        if (type == kLimited) replies.push_back({type_of(ControlType::error), "\x01\xad"});
        if (type == kNoRoute) replies.push_back({type_of(ControlType::error), "\x01\x90"});
    }
    for (size_t at = 0, piece = 1; at < bytes.size(); at += piece, piece = piece * 7 % 10'007) {
        client.send(std::string_view(bytes).substr(at, piece));
    }
    client.end_output();
    auto reply = replies.begin(), pong = pongs.begin();
    while (reply != replies.end() || pong != pongs.end()) {
        Frame got = client.receive_frame();
        if (got.is(ControlType::error)) got.payload.resize(2);
        auto& expected = got.is(ControlType::pong) ? pong : reply;
        BOOST_REQUIRE(expected != (got.is(ControlType::pong) ? pongs.end() : replies.end()));
        BOOST_REQUIRE_EQUAL(got, *expected++);
    }
    client.expect_end();
}

// Told at the header, before the rest of it comes, which is then dropped.
BOOST_AUTO_TEST_CASE(frames_that_are_refused_before_they_are_whole) {
    TestDaemon daemon(config(kRoutes));
    FramedClient client(daemon.address("it"));
    for (const size_t bytes : {10, 5000, 300'000}) {
        const std::string frame = frame_bytes(kRefused, payload_of(bytes));
        client.send(std::string_view(frame).substr(0, worker::kTcpdHeaderBytes));
        client.expect_error(FrameError::unavailable);
        client.send(std::string_view(frame).substr(worker::kTcpdHeaderBytes));
        BOOST_CHECK(client.echoes_frame(kEchoed, "next"));
        client.send_frame(kOneWay, payload_of(bytes));
        BOOST_CHECK(client.echoes_frame(kEchoed, "next"));
        for (const char byte : frame.substr(0, 20)) client.send(std::string_view(&byte, 1));
        client.send(std::string_view(frame).substr(20));
        client.expect_error(FrameError::unavailable);
    }
    BOOST_CHECK(client.echoes_frame(kEchoed, "still here"));
}

BOOST_AUTO_TEST_CASE(whole_frames_are_echoed_and_a_partial_one_is_not) {
    TestDaemon daemon(samples_config());
    for (const Sample& sample : kSamples) {
        BOOST_TEST_CONTEXT(sample.framing) {
            const std::string whole = sample.first + sample.second;
            BlockingClient client(daemon.address(sample.framing));
            client.send(whole + sample.partial);
            BOOST_CHECK_EQUAL(client.receive(whole.size()), whole);
            client.end_output();
            BOOST_CHECK_EQUAL(client.receive_all(), "");
        }
    }
}

BOOST_AUTO_TEST_CASE(cut_anywhere_they_come_back_whole) {
    TestDaemon daemon(samples_config());
    for (const Sample& sample : kSamples) {
        BOOST_TEST_CONTEXT(sample.framing) {
            BlockingClient client(daemon.address(sample.framing));
            for (const std::string& frame : {sample.first, sample.second}) {
                for (const char byte : frame) {
                    BOOST_REQUIRE(!client.has_input());
                    client.send(std::string_view(&byte, 1));
                }
                BOOST_CHECK_EQUAL(client.receive(frame.size()), frame);
            }
        }
    }
}

// They have no frames for errors.
BOOST_AUTO_TEST_CASE(a_stream_that_breaks_is_closed_without_a_word) {
    TestDaemon daemon(samples_config());
    for (const Sample& sample : kSamples) {
        if (sample.broken.empty()) continue;
        BOOST_TEST_CONTEXT(sample.framing) {
            BlockingClient client(daemon.address(sample.framing));
            client.send(sample.first + sample.broken + payload_of(1000));
            BOOST_CHECK_EQUAL(client.receive_all(), sample.first);
            client.close();
            wait_for("the count", [&] {
                const Status status = daemon.status();
                return status.count(sample.framing, "closed malformed") +
                           status.count(sample.framing, "closed too_long") ==
                       1;
            });
        }
    }
}

BOOST_AUTO_TEST_CASE(a_line_that_is_too_long) {
    TestDaemon daemon(config("echo, max_frame: 10B", "line"));
    BlockingClient client(daemon.address("it"));
    BOOST_CHECK(client.echoes("0123456789\r\n"));
    client.send("0123456789a");
    BOOST_CHECK_EQUAL(client.receive_all(), "");
    client.close();
    wait_for("the count", [&] { return daemon.count("it", "closed too_long") == 1; });
}

BOOST_AUTO_TEST_CASE(routes_by_the_types_of_a_declared_framing) {
    TestDaemon daemon(
        "framings: {small: {length: {size: 1}, type: {offset: 1, size: 1}}}\n" +
        config("{routes: [{types: 0x61, handler: echo}, {types: 0x62, handler: discard}]}", "small"));
    BlockingClient client(daemon.address("it"));
    client.send("\2ax\3bxx");
    BOOST_CHECK(client.receive(3) == "\2ax");
    BOOST_CHECK(client.echoes("\1a"));
    client.send("\1c\1a");
    BOOST_CHECK_EQUAL(client.receive_all(), "");
    client.close();
    wait_for("the count", [&] { return daemon.count("it", "closed no_route") == 1; });
}

// -- limits

BOOST_AUTO_TEST_CASE(a_rate_of_messages) {
    TestDaemon daemon(
        "workers: 1\nlisteners: {it: {listen: 127.0.0.1:0, framing: tcpd, handler: echo, limits: "
        "{message_rate: "
        "2/m}}}\n");
    FramedClient client(daemon.address("it"));
    BOOST_CHECK(client.is_served());
    BOOST_CHECK(client.is_served());
    client.send_frame(kEchoed);
    client.expect_error(FrameError::too_many);
    client.send_frame(ControlType::ping);
    BOOST_CHECK(client.receive_frame().is(ControlType::pong));
}

// Whoever has no errors to send is not read for a while: what came at once goes on by itself, as time allows.
BOOST_AUTO_TEST_CASE(a_rate_of_lines) {
    TestDaemon daemon(config("echo, limits: {message_rate: 20/s}", "line"));
    BlockingClient client(daemon.address("it"));
    std::string lines;
    for (int i = 0; i < 70; ++i) lines += std::to_string(i) + "\r\n";
    const auto begin = SteadyClock::now();
    client.send(lines);
    client.end_output();
    BOOST_CHECK_EQUAL(client.receive(lines.size()), lines);
    BOOST_CHECK_GE((SteadyClock::now() - begin) / 1ms, 2400);
    BOOST_CHECK_EQUAL(client.receive_all(), "");
    client = BlockingClient(daemon.address("it"));
    client.send(lines);
    client.end_output();
    daemon.change_hands();
    BOOST_CHECK_EQUAL(client.receive_all(), lines);
    daemon.check_nothing_lost();
}

// Each of them is told, or may go on; whoever is whole is served.
BOOST_DATA_TEST_CASE(a_budget_of_memory, boost::unit_test::data::make({"worker", "total"}), scope) {
    TestDaemon daemon("workers: 1\nmemory: {" + std::string(scope) +
                      ": 1MiB}\nlisteners: {it: {listen: 127.0.0.1:0, framing: tcpd, handler: echo}}\n");
    const std::string message = frame_bytes(kEchoed, payload_of(1000));
    std::vector<FramedClient> halves;
    for (int i = 0; i < 400; ++i) {
        halves.emplace_back(daemon.address("it"));
        halves.back().send(message.substr(0, 500));
    }
    halves.back().expect_error(FrameError::unavailable);
    BOOST_CHECK(FramedClient(daemon.address("it")).is_served());
    halves.front().send(message.substr(500));
    BOOST_CHECK_EQUAL(halves.front().receive_frame().payload, payload_of(1000));
}

BOOST_AUTO_TEST_SUITE_END()
