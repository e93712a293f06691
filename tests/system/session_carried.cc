// Sessions in every state go over kills, a reload and an upgrade: before they said who they are, idle, in the
// middle of a frame, and as they close.

#include <boost/test/unit_test.hpp>

#include "tests/support/framed_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;
using worker::FrameError;

namespace {

constexpr const char* kKeys =
    "listen: 127.0.0.1:0, framing: tcpd, limits: {output_high: 4MiB, output_low: 1MiB}";
constexpr uint32_t kType = 1, kRefused = 2;
// Little is taken by the kernel: what is not read waits in the daemon.
constexpr ClientOptions kSlow{.receive_buffer = 4096, .segment = 536};

struct Guarded {
    TempDir folder;
    std::unique_ptr<TestDaemon> daemon;
    Address open_address, guarded_address;

    Guarded() {
        const std::string tokens = folder.write("tokens", kTokens);
        daemon = std::make_unique<TestDaemon>(
            std::string("workers: 1\nlisteners:\n  open: {") + kKeys +
            ", handler: {routes: [{types: 1, handler: echo}, {types: 2, error: 503}]}}\n  guarded: {" +
            kKeys + ", handler: echo, auth: {methods: [token], tokens: " + tokens +
            "}, timeouts: {auth: 1m}}\n");
        open_address = daemon->address("open");
        guarded_address = daemon->address("guarded");
    }
    FramedClient open(const ClientOptions& options = {}) const { return FramedClient(open_address, options); }
    FramedClient guarded() const { return FramedClient(guarded_address); }
};

// What a client has sent, byte by byte, before and after.
struct HalfWay {
    FramedClient client;
    std::string bytes;
    size_t sent = 0;

    void send_to(size_t end) {
        client.send(std::string_view(bytes).substr(sent, end - sent));
        sent = end;
    }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(session_carried)

BOOST_AUTO_TEST_CASE(before_authentication) {
    Guarded guarded;
    const std::string auth = frame_bytes(ControlType::auth, credential(kToken));
    std::vector<HalfWay> list;
    for (const size_t there : {size_t{0}, size_t{1}, size_t{11}, size_t{12}, auth.size() - 1}) {
        list.push_back({guarded.guarded(), auth + frame_bytes(kType, "behind it")});
        if (there != 0) list.back().send_to(there);
    }
    FramedClient refused = guarded.guarded();
    guarded.daemon->change_hands();
    for (HalfWay& one : list) {
        one.send_to(one.bytes.size());
        BOOST_CHECK(one.client.receive_frame().is(ControlType::auth_ok));
        BOOST_CHECK_EQUAL(one.client.receive_frame(), (Frame{kType, "behind it"}));
    }
    refused.send_frame(kType, "without a word");
    refused.expect_last_error(FrameError::unauthorized);
    guarded.daemon->check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(authenticated_and_idle) {
    Guarded guarded;
    FramedClient first = guarded.guarded(), second = guarded.guarded();
    const std::string id = first.authenticate(kToken);
    second.authenticate(kToken);
    BOOST_CHECK(second.is_served());
    guarded.daemon->change_hands();
    BOOST_CHECK(first.is_served() && second.is_served());
    first.send_frame(ControlType::auth, credential(kToken));  // it knows that this was done
    first.expect_error(FrameError::malformed);
    first.send_frame(ControlType::close);
    first.expect_end();
    first.close();
    wait_for("its line", [&] { return guarded.daemon->count_in_err("messages=1 identity=alice") == 1; });
    guarded.daemon->check_nothing_lost();
}

// Cut in the header, in a payload that is gathered in a small or a large chunk, and in one that is passed on.
BOOST_AUTO_TEST_CASE(in_the_middle_of_a_frame) {
    Guarded guarded;
    std::vector<HalfWay> list;
    for (const size_t payload : {100, 5000, 60'000, 200'000}) {
        const std::string bytes = frame_bytes(kType, payload_of(payload, static_cast<unsigned>(payload)));
        for (const size_t there : {size_t{1}, size_t{5}, size_t{11}, bytes.size() / 2, bytes.size() - 1}) {
            list.push_back({guarded.open(), bytes});
            list.back().send_to(there);
        }
    }
    guarded.daemon->change_hands();
    for (HalfWay& one : list) {
        one.send_to(one.bytes.size());
        BOOST_CHECK(one.client.receive(one.bytes.size()) == one.bytes);
        BOOST_CHECK(one.client.echoes_frame(kType, "and the next"));
    }
    guarded.daemon->check_nothing_lost();
}

// Some more bytes between any two changes.
BOOST_AUTO_TEST_CASE(further_in_it_each_time) {
    Guarded guarded;
    std::vector<HalfWay> list;
    for (const size_t payload : {20, 10'000, 200'000}) {
        list.push_back({guarded.open(), frame_bytes(kType, payload_of(payload))});
    }
    guarded.daemon->wait_complete(1);
    for (size_t part = 1; part <= 8; ++part) {
        for (HalfWay& one : list) one.send_to(one.bytes.size() * part / 8);
        if (part % 4 == 0) BOOST_REQUIRE_EQUAL(guarded.daemon->verb("reload").exit, 0);
        guarded.daemon->kill_worker(0);
    }
    for (HalfWay& one : list) BOOST_CHECK(one.client.receive(one.bytes.size()) == one.bytes);
    guarded.daemon->check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(in_a_frame_that_was_refused) {
    Guarded guarded;
    HalfWay one{guarded.open(), frame_bytes(kRefused, payload_of(200'000)) + frame_bytes(kType, "the next")};
    one.send_to(70'000);
    one.client.expect_error(FrameError::unavailable);
    guarded.daemon->change_hands();
    one.send_to(one.bytes.size());
    BOOST_CHECK_EQUAL(one.client.receive_frame(), (Frame{kType, "the next"}));
    guarded.daemon->check_nothing_lost();
}

// The last word is said, and lies behind replies that nobody has read.
BOOST_AUTO_TEST_CASE(closing) {
    Guarded guarded;
    std::vector<Frame> frames;
    for (unsigned i = 0; i < 60; ++i) frames.push_back({kType, payload_of(2500, i)});
    FramedClient broken = guarded.open(kSlow), leaving = guarded.open(kSlow), ending = guarded.open(kSlow);
    broken.send(bytes_of(frames) + "no frame" + payload_of(1000));
    leaving.send(bytes_of(frames) + frame_bytes(ControlType::close) + "not read any more");
    ending.send(bytes_of(frames) + frame_bytes(kType, "whole") + header_bytes(kType, 5) + "part");
    ending.end_output();
    wait_for("the fault to be found", [&] { return guarded.daemon->count_in_err("bad magic") == 1; });
    guarded.daemon->change_hands();
    for (FramedClient* client : {&broken, &leaving, &ending}) {
        for (const Frame& frame : frames) BOOST_REQUIRE_EQUAL(client->receive_frame(), frame);
    }
    broken.expect_last_error(FrameError::malformed);
    leaving.expect_end();
    BOOST_CHECK_EQUAL(ending.receive_frame(), (Frame{kType, "whole"}));
    ending.expect_end();
    for (FramedClient* client : {&broken, &leaving, &ending}) client->close();
    wait_for("the counts", [&] {
        const Status status = guarded.daemon->status();
        return status.count("open", "closed malformed") == 1 && status.count("open", "closed goodbye") == 1 &&
               status.count("open", "closed finished") == 1;
    });
    guarded.daemon->check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
