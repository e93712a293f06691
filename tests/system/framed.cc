// A listener of framing tcpd: what comes back for what, in which order, and after what it closes. The tables
// of docs/protocols.md, row by row.

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "tests/support/exact_peer.h"
#include "tests/support/framed_client.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;
using worker::FrameError;

namespace {

constexpr uint32_t kType = 0x0102;
// The longest payload that is not passed on.
constexpr size_t kGathered = 64 * 1024 - worker::kTcpdHeaderBytes;

std::string config(const std::string& handler = "echo", const std::string& keys = "") {
    return "workers: 1\nlisteners: {it: {listen: 127.0.0.1:0, framing: tcpd, handler: " + handler +
           (keys.empty() ? "" : ", ") + keys + "}}\n";
}

struct Served {
    TestDaemon daemon;
    Address address;
    FramedClient client;

    explicit Served(const std::string& handler = "echo", const std::string& keys = "")
        : daemon(config(handler, keys)), address(daemon.address("it")), client(address) {}
    FramedClient another() const { return FramedClient(address); }
    void wait_closed(const std::string& reason, uint64_t count = 1) const {
        wait_for("the count of " + reason, [&] { return daemon.count("it", "closed " + reason) == count; });
    }
};

// Frames of many sizes and types.
std::vector<Frame> assorted(unsigned count) {
    std::vector<Frame> frames;
    for (unsigned i = 0; i < count; ++i) {
        frames.push_back({i * 257 % worker::kFirstControlType, payload_of(i % 4 == 0 ? 0 : i * 31 % 700, i)});
    }
    return frames;
}

void check_same(FramedClient& client, const std::vector<Frame>& expected) {
    for (const Frame& frame : expected) BOOST_REQUIRE_EQUAL(client.receive_frame(), frame);
}

// The ones that are answered 400 although their headers are fine.
const std::pair<ControlType, std::string> kMalformed[] = {
    {ControlType::ping, payload_of(65)},
    {ControlType::ping, payload_of(worker::kMaxControlBytes)},
    {ControlType::close, "x"},
    {ControlType::close, payload_of(worker::kMaxControlBytes)},
    {ControlType::auth, credential("whatever")},  // where none is required
    {ControlType::auth, ""},
    {ControlType::auth_ok, payload_of(16)},
    {ControlType::error, std::string("\x01\x90", 2)},
    {ControlType::goaway, std::string(4, '\0')},
    {ControlType::push, "for somebody"},
    {ControlType{0xF000}, ""},
    {ControlType{0xF009}, "unlisted"},
    {ControlType{0xFFFF}, ""},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(framed)

BOOST_AUTO_TEST_CASE(one_byte_at_a_time) {
    Served served;
    for (const Frame& frame : assorted(12)) {
        for (const char byte : frame_bytes(frame.type, frame.payload)) {
            BOOST_REQUIRE(!served.client.has_input());
            served.client.send(std::string_view(&byte, 1));
        }
        BOOST_REQUIRE_EQUAL(served.client.receive_frame(), frame);
    }
}

BOOST_AUTO_TEST_CASE(many_in_one_piece) {
    Served served;
    const std::vector<Frame> frames = assorted(1000);
    served.client.send(bytes_of(frames));
    check_same(served.client, frames);
    served.client.end_output();
    served.client.expect_end();
    served.wait_closed("finished");
    BOOST_CHECK_EQUAL(served.daemon.count("it", "received_bytes"), bytes_of(frames).size());
}

// However a stream is cut: here, with a frame's end and the next one's begin in every piece.
BOOST_AUTO_TEST_CASE(cut_and_glued) {
    Served served;
    const std::vector<Frame> frames = assorted(100);
    const std::string bytes = bytes_of(frames);
    for (size_t at = 0, piece = 1; at < bytes.size(); at += piece, piece = piece * 7 % 1009) {
        served.client.send(std::string_view(bytes).substr(at, piece));
    }
    check_same(served.client, frames);
}

BOOST_AUTO_TEST_CASE(ping_and_pong) {
    Served served;
    for (const size_t bytes : {0, 1, 63, 64}) {
        const std::string payload = payload_of(bytes, static_cast<unsigned>(bytes));
        served.client.send_frame(ControlType::ping, payload);
        BOOST_CHECK_EQUAL(served.client.receive_frame(), (Frame{type_of(ControlType::pong), payload}));
    }
    for (const size_t bytes : {0, 8, 4096}) {  // asked for or not: never answered
        served.client.send_frame(ControlType::pong, payload_of(bytes));
        BOOST_CHECK(served.client.is_served());
    }
}

BOOST_AUTO_TEST_CASE(malformed_control_frames_are_answered_and_the_connection_kept) {
    Served served;
    for (const auto& [type, payload] : kMalformed) {
        BOOST_TEST_CONTEXT(Frame({type_of(type), payload})) {
            served.client.send_frame(type, payload);
            served.client.expect_error(FrameError::malformed);
            BOOST_CHECK(served.client.is_served());
        }
    }
    for (const auto& [type, payload] : kMalformed) served.client.send_frame(type, payload);
    for (size_t i = 0; i < std::size(kMalformed); ++i) served.client.expect_error(FrameError::malformed);
    BOOST_CHECK(served.client.is_served());
}

// Not at the eleventh: nothing else is sent.
BOOST_AUTO_TEST_CASE(bad_magic_is_answered_at_the_first_wrong_byte) {
    Served served;
    served.client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    served.client.expect_last_error(FrameError::malformed);
    served.client.close();
    wait_for("its line", [&] { return served.daemon.count_in_err("looks like HTTP") == 1; });
    const std::string header = header_bytes(kType, 5);
    for (size_t right = 0; right < worker::kTcpdMagic.size(); ++right) {
        for (const bool by_byte : {false, true}) {
            FramedClient client = served.another();
            BOOST_CHECK(client.is_served());
            if (by_byte) {
                for (size_t i = 0; i < right; ++i) client.send(std::string_view(header).substr(i, 1));
            }
            client.send((by_byte ? "" : header.substr(0, right)) + "x");
            BOOST_CHECK_EQUAL(client.expect_last_error(FrameError::malformed), "bad magic");
        }
    }
    served.wait_closed("malformed", 9);
}

BOOST_AUTO_TEST_CASE(the_answer_to_a_version_names_those_that_are_served) {
    Served served;
    for (const char version : {'\0', '\2', '\xff'}) {
        FramedClient client = served.another();
        client.send(std::string(worker::kTcpdMagic) + version);
        const std::string reason = client.expect_last_error(FrameError::malformed);
        BOOST_CHECK_MESSAGE(reason.find("served: 1") != reason.npos, reason);
    }
}

BOOST_AUTO_TEST_CASE(too_long_is_answered_from_the_header_alone) {
    Served served("echo", "max_frame: 1000B");
    BOOST_CHECK(served.client.echoes_frame(kType, payload_of(1000)));
    const std::pair<uint32_t, uint64_t> too_long[] = {{kType, 1001},
                                                      {kType, 0xFFFFFFFF},
                                                      {type_of(ControlType::ping), 4097},
                                                      {type_of(ControlType::close), 0xFFFFFFFF},
                                                      {0xFFFF, 4097}};
    for (const auto& [type, length] : too_long) {
        FramedClient client = served.another();
        client.send(frame_bytes(kType, "before it") + header_bytes(type, length));
        BOOST_CHECK_EQUAL(client.receive_frame(), (Frame{kType, "before it"}));
        client.expect_last_error(FrameError::too_long);
    }
    BOOST_CHECK(served.client.is_served());
    served.wait_closed("too_long", std::size(too_long));
}

// Whatever max_frame is.
BOOST_AUTO_TEST_CASE(control_frames_are_short) {
    Served served("echo", "max_frame: 1MiB");
    served.client.send_frame(ControlType::push, payload_of(4096));
    served.client.expect_error(FrameError::malformed);
    served.client.send(header_bytes(type_of(ControlType::push), 4097));
    served.client.expect_last_error(FrameError::too_long);
    Served small("echo", "max_frame: 10B");
    small.client.send_frame(ControlType::ping, payload_of(64));
    BOOST_CHECK(small.client.receive_frame().is(ControlType::pong));
}

BOOST_AUTO_TEST_CASE(a_frame_that_stalls) {
    Served served("echo", "timeouts: {frame: 300ms}");
    const std::string bytes = frame_bytes(kType, payload_of(100));
    const auto begin = SteadyClock::now();
    for (const size_t there : {size_t{1}, size_t{10}, size_t{11}, bytes.size() - 1}) {
        FramedClient client = served.another();
        client.send(frame_bytes(kType, "before it") + bytes.substr(0, there));
        BOOST_CHECK_EQUAL(client.receive_frame(), (Frame{kType, "before it"}));
        BOOST_CHECK_EQUAL(client.expect_last_error(FrameError::malformed), "the frame stalled");
    }
    BOOST_CHECK_GE((SteadyClock::now() - begin) / 1ms, 4 * 250);
    served.wait_closed("stalled", 4);
    BOOST_CHECK(served.client.is_served());  // silent between frames
}

// Part of it is out already, so no ERROR can be put in between.
BOOST_AUTO_TEST_CASE(a_frame_that_stalls_while_it_is_passed_on) {
    Served served("echo", "timeouts: {frame: 1s}");
    const std::string bytes = frame_bytes(kType, payload_of(200'000));
    served.client.send(std::string_view(bytes).substr(0, 150'000));
    BOOST_CHECK(served.client.receive(150'000) == bytes.substr(0, 150'000));
    BOOST_CHECK(served.client.wait_end() != Ending::timed_out);
    served.wait_closed("stalled");
}

BOOST_AUTO_TEST_CASE(one_that_goes_on_does_not_stall) {
    Served served("echo", "timeouts: {frame: 1s}");
    const std::string bytes = frame_bytes(kType, "slowly");
    auto sent_at = SteadyClock::now();
    for (size_t at = 0; at < bytes.size(); ++at) {
        wait_for("the time", [&] { return SteadyClock::now() - sent_at >= 100ms; });
        sent_at = SteadyClock::now();
        served.client.send(std::string_view(bytes).substr(at, 1));
    }
    BOOST_CHECK_EQUAL(served.client.receive_frame(), (Frame{kType, "slowly"}));
}

BOOST_AUTO_TEST_CASE(close_with_frames_before_and_behind_it) {
    Served served;
    const std::vector<Frame> before = assorted(50);
    served.client.send(bytes_of(before) + frame_bytes(ControlType::close) + bytes_of(assorted(50)));
    check_same(served.client, before);
    served.client.expect_end();
    served.client.close();
    served.wait_closed("goodbye");
    FramedClient bare = served.another();
    bare.send_frame(ControlType::close);
    bare.expect_end();
}

BOOST_AUTO_TEST_CASE(the_end_of_input_in_the_middle_of_a_frame) {
    Served served;
    const std::string last = frame_bytes(kType, payload_of(3000));
    for (const size_t there : {size_t{1}, size_t{11}, size_t{2000}, last.size() - 1}) {
        FramedClient client = served.another();
        client.send(frame_bytes(kType, "whole") + last.substr(0, there));
        client.end_output();
        BOOST_CHECK_EQUAL(client.receive_frame(), (Frame{kType, "whole"}));
        client.expect_end();
    }
    served.wait_closed("finished", 4);
}

// What the client has in flight when the daemon closes must not make it send an RST, which would destroy the
// ERROR in the client's own buffer.
BOOST_AUTO_TEST_CASE(the_last_error_survives_what_is_in_flight) {
    Served served("echo", "max_frame: 1000B");
    const std::pair<std::string, FrameError> ends[] = {
        {"GET ", FrameError::malformed},
        {header_bytes(kType, 1001), FrameError::too_long},
        {std::string(worker::kTcpdMagic) + '\7', FrameError::malformed}};
    for (const auto& [bytes, code] : ends) {
        FramedClient client = served.another();
        client.send(frame_bytes(kType, "before it") + bytes);
        for (int i = 0; i < 50; ++i) client.send(payload_of(10'000));
        BOOST_CHECK_EQUAL(client.receive_frame(), (Frame{kType, "before it"}));
        client.expect_last_error(code);
    }
}

BOOST_AUTO_TEST_CASE(a_client_that_goes_on_after_the_last_error_is_cut) {
    Served served;
    served.client.send("GET ");
    served.client.expect_last_error(FrameError::malformed);
    wait_for("the cut", [&] {
        try {
            served.client.send(payload_of(10'000));
        } catch (const Failed&) {
            return true;
        }
        return false;
    });
    served.wait_closed("malformed");
    BOOST_CHECK_LE(served.daemon.count("it", "received_bytes"), 1200'000U);
}

// Around the length from which on frames are passed on.
BOOST_AUTO_TEST_CASE(frames_of_all_lengths) {
    Served served;
    for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4085}, size_t{4086}, size_t{30'000},
                               kGathered - 1, kGathered, kGathered + 1, size_t{200'000}, size_t{1 << 20}}) {
        BOOST_TEST_CONTEXT(bytes) {
            const Frame first{kType, payload_of(bytes, 1)}, second{kType, payload_of(bytes, 2)};
            BOOST_CHECK(served.client.echoes_frame(kType, payload_of(bytes, 3)));
            served.client.send(bytes_of({first, {type_of(ControlType::ping), "p"}, second}));
            BOOST_CHECK_EQUAL(served.client.receive_frame(), first);
            BOOST_CHECK_EQUAL(served.client.receive_frame(), (Frame{type_of(ControlType::pong), "p"}));
            BOOST_CHECK_EQUAL(served.client.receive_frame(), second);
        }
    }
}

BOOST_AUTO_TEST_CASE(a_big_frame_in_bounded_memory) {
    constexpr uint32_t kBig = 100 << 20;
    Served served("echo", "max_frame: 100MiB");
    BOOST_CHECK(served.client.echoes_frame(kType, payload_of(1 << 20)));
    const uint64_t before = served.daemon.pss_bytes(0);
    uint64_t most = 0;
    ExactPeer peer;
    peer.open(served.address, Plan{.up_bytes = kBig,
                                   .window = 8 << 20,
                                   .piece = 64 * 1024,
                                   .frames = {.least_bytes = kBig, .most_bytes = kBig}});
    for (uint64_t goal = 5 << 20; peer.open_count() != 0; goal += 5 << 20) {
        peer.run_until("bytes", [&] { return peer.received() >= goal || peer.open_count() == 0; });
        most = std::max(most, served.daemon.pss_bytes(0));
    }
    check_all_finished(peer.results());
    BOOST_CHECK_GE(peer.results().received, uint64_t{kBig});
    BOOST_TEST_MESSAGE("memory of the slot: " << before << " before, " << most << " at most");
    BOOST_CHECK_LT(most, before + (8 << 20));
    served.client.send(header_bytes(kType, kBig + 1));
    served.client.expect_last_error(FrameError::too_long);
}

// A length is a claim: who sends little costs little.
BOOST_AUTO_TEST_CASE(claims_cost_nothing) {
    Served served("echo", "max_frame: 1GiB");
    BOOST_CHECK(served.client.is_served());
    const uint64_t before = served.daemon.pss_bytes(0);
    std::vector<std::unique_ptr<FramedClient>> clients;
    for (unsigned i = 0; i < 200; ++i) {
        clients.push_back(std::make_unique<FramedClient>(served.address));
        clients.back()->send(frame_bytes(ControlType::ping) +
                             header_bytes(kType, i % 2 ? 1 << 30 : kGathered));
        BOOST_CHECK(clients.back()->receive_frame().is(ControlType::pong));
    }
    BOOST_CHECK_LT(served.daemon.pss_bytes(0), before + 200 * 8192);
}

BOOST_AUTO_TEST_SUITE_END()
