// Frames that go on to an upstream that the test plays: whole ones only, what tcpd answers itself and where
// between them, and who is held back by whom.

#include <poll.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <thread>

#include "tests/support/proxied_frames.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;

namespace {

constexpr size_t kGathered = 64 * 1024 - worker::kTcpdHeaderBytes;  // the longest that is not passed on
constexpr size_t kLong = 1 << 20;
// Little is taken by the kernel: what is not read waits in the daemon.
constexpr ClientOptions kSlow{.receive_buffer = 16 * 1024, .segment = 1460};
constexpr const char* kNarrow = ", limits: {output_high: 16KiB, output_low: 4KiB}";

// Sends from a thread of its own until it is held back, however much the kernel takes before that, and then
// the last frame.
class Sender {
public:
    Sender(FramedClient& client, const std::function<std::string(uint64_t)>& piece, const std::string& last)
        : thread_([this, &client, piece, last] {
              try {
                  for (; !is_over_ && sent_ < kMost; ++sent_) client.send(piece(sent_));
                  client.send(last);
              } catch (const Failed&) {  // seen by who reads
              }
          }) {}
    ~Sender() { is_over_ = true; }
    void wait_held_back() {
        uint64_t before = 0, same = 0;
        wait_for("the sender to be held back", [&] {
            same = before == sent_ ? same + 1 : 0;
            before = sent_;
            return same == 150;
        });
        BOOST_REQUIRE_LT(sent_, kMost);
        BOOST_TEST_MESSAGE("held back after " << sent_);
        is_over_ = true;
    }

private:
    static constexpr uint64_t kMost = 2'000'000;  // some 200 MB: no kernel takes as much
    std::atomic<uint64_t> sent_{0};
    std::atomic<bool> is_over_{false};
    std::jthread thread_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(framed_proxy)

BOOST_AUTO_TEST_CASE(whole_frames_only) {
    Proxied it;
    unsigned seed = 0;
    for (const auto& [from, to] : {std::pair{&it.client, &it.server}, {&it.server, &it.client}}) {
        for (const size_t bytes : {size_t{0}, size_t{1}, size_t{90}, size_t{5000}, kGathered}) {
            const Frame frame{kType, payload_of(bytes, ++seed)};
            const std::string all = frame_bytes(frame.type, frame.payload);
            const size_t piece = bytes > 100 ? all.size() / 20 : 1;
            size_t at = 0;
            for (; at + piece < all.size(); at += piece) {
                from->send(all.substr(at, piece));
                it.settle();
                BOOST_REQUIRE(!to->has_input());
                if (bytes >= 5000 && at / piece == 9) it.daemon.change_hands();
            }
            from->send(all.substr(at));
            BOOST_CHECK_EQUAL(to->receive_frame(), frame);
        }
    }
    it.daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(half_a_frame_and_then_the_end) {
    Proxied it;
    const std::string last = frame_bytes(kType, payload_of(3000));
    std::vector<Ends> up, down;
    for (const size_t there : {size_t{1}, size_t{11}, size_t{2000}, last.size() - 1}) {
        for (auto* list : {&up, &down}) {
            Ends ends = it.another();
            FramedClient& from = list == &up ? ends.client : ends.server;
            from.send(frame_bytes(kType, "whole") + last.substr(0, there));
            from.end_output();
            list->push_back(std::move(ends));
        }
    }
    it.daemon.change_hands();
    for (Ends& ends : up) {
        BOOST_CHECK_EQUAL(ends.server.receive_frame(), (Frame{kType, "whole"}));
        ends.server.expect_end();
        ends.server.send_frame(kType, "reply");
        ends.server.close();
        BOOST_CHECK_EQUAL(ends.client.receive_frame(), (Frame{kType, "reply"}));
        ends.client.expect_end();
    }
    for (Ends& ends : down) {
        BOOST_CHECK_EQUAL(ends.client.receive_frame(), (Frame{kType, "whole"}));
        ends.client.expect_end();
        ends.client.close();
        ends.server.expect_end();
    }
    it.wait_closed("finished", 8);
}

BOOST_AUTO_TEST_CASE(long_frames_are_passed_on_as_they_come) {
    for (const bool changes_hands : {false, true}) {
        Proxied it(", max_frame: 2MiB");
        const std::string request = frame_bytes(kType, payload_of(kLong, 1));
        const std::string reply = frame_bytes(kType, payload_of(kLong, 2));
        const size_t half = 100'000;
        it.client.send(request.substr(0, half));
        BOOST_CHECK(it.server.receive(half) == request.substr(0, half));
        it.server.send(reply.substr(0, half));
        BOOST_CHECK(it.client.receive(half) == reply.substr(0, half));
        if (changes_hands) it.daemon.change_hands();
        const std::jthread rest([&] { it.client.send(request.substr(half)); });
        BOOST_CHECK(it.server.receive(request.size() - half) == request.substr(half));
        for (const char c : {'a', 'b', 'c'}) it.client.send_frame(ControlType::ping, std::string(60, c));
        it.settle();
        BOOST_CHECK(!it.client.has_input());
        if (changes_hands) it.daemon.change_hands();
        const std::jthread rest_of_reply([&] { it.server.send(reply.substr(half)); });
        BOOST_CHECK(it.client.receive(reply.size() - half) == reply.substr(half));
        for (const char c : {'a', 'b', 'c'}) {
            BOOST_CHECK_EQUAL(it.client.receive_frame(), pong(std::string(60, c)));
        }
        it.daemon.check_nothing_lost();
    }
}

BOOST_AUTO_TEST_CASE(pongs_between_long_replies_that_follow_each_other) {
    Proxied it;
    constexpr unsigned kPings = 300;
    LongReplies replies(it.server);
    unsigned reply = 0, asked = 0, answered = 0;
    for (Frame frame = it.client.receive_frame(); frame.type != kType + 1;
         frame = it.client.receive_frame()) {
        if (frame.type == kType) {
            BOOST_REQUIRE_EQUAL(frame, LongReplies::nth(reply++));
            for (int i = 0; i < 3 && asked < kPings; ++i) {
                it.client.send_frame(ControlType::ping, std::to_string(asked++));
            }
        } else {
            BOOST_REQUIRE_EQUAL(frame, pong(std::to_string(answered++)));
        }
        if (answered == kPings || reply == 2000) replies.end();
    }
    BOOST_CHECK_EQUAL(answered, kPings);
    BOOST_TEST_MESSAGE(reply << " replies");
}

// Where its own output holds back what it sends.
BOOST_AUTO_TEST_CASE(a_client_that_pipelines_and_reads_late) {
    for (const bool changes_hands : {false, true}) {
        Proxied it(kNarrow, kSlow);
        const std::jthread echoing = echo_all(it.server);
        const auto is_ping = [](uint64_t i) { return i % 10 == 9; };
        const auto text = [](uint64_t i) { return std::to_string(i) + payload_of(40 + i % 90); };
        const auto piece = [&](uint64_t i) {
            return is_ping(i) ? frame_bytes(ControlType::ping, std::to_string(i))
                              : frame_bytes(kType, text(i));
        };
        Sender sender(it.client, piece, frame_bytes(kType + 1, "last"));
        sender.wait_held_back();
        if (changes_hands) it.daemon.change_hands();
        uint64_t reply = 0, answered = 9;
        for (Frame frame = it.client.receive_frame(); frame.type != kType + 1;
             frame = it.client.receive_frame()) {
            if (frame.type == kType) {
                BOOST_REQUIRE_EQUAL(frame.payload, text(reply));
                if (is_ping(++reply)) ++reply;
            } else {
                BOOST_REQUIRE_EQUAL(frame, pong(std::to_string(answered)));
                answered += 10;
            }
        }
        it.client.end_output();
        it.client.expect_end();
        it.daemon.check_nothing_lost();
    }
}

// Its PONG comes late, since what it is to answer lies behind much that it reads first.
BOOST_AUTO_TEST_CASE(a_client_that_reads_slowly_is_there) {
    Proxied it(", heartbeat: {interval: 200ms, misses: 1}", {.receive_buffer = 4096});
    constexpr unsigned kPushes = 1500;
    const std::jthread pushing([&] {
        std::string bytes;
        for (unsigned i = 0; i < kPushes; ++i) bytes += frame_bytes(ControlType::push, payload_of(1000, i));
        it.server.send(bytes);
    });
    const auto begin = SteadyClock::now();
    unsigned seen = 0;
    while (seen < kPushes) {
        const Frame frame = it.client.receive_frame();
        if (frame.is(ControlType::push)) {
            BOOST_REQUIRE_EQUAL(frame.payload, payload_of(1000, seen++));
        } else {
            BOOST_REQUIRE(frame.is(ControlType::ping));
            it.client.send_frame(ControlType::pong, frame.payload);
        }
        while (SteadyClock::now() - begin < seen * 2ms) poll(nullptr, 0, 1);  // some 500 KB a second
    }
}

BOOST_AUTO_TEST_CASE(pings_for_ever_from_a_client_that_does_not_read) {
    Proxied it(kNarrow, kSlow);
    const uint64_t before = it.daemon.pss_bytes(0);
    const auto text = [](uint64_t i) { return std::to_string(i) + std::string(50, 'p'); };
    const auto ping = [&](uint64_t i) { return frame_bytes(ControlType::ping, text(i)); };
    Sender sender(it.client, ping, frame_bytes(ControlType::ping, "last"));
    sender.wait_held_back();
    BOOST_CHECK_LT(it.daemon.pss_bytes(0), before + (1 << 20));
    uint64_t answered = 0;
    for (Frame frame = it.client.receive_frame(); frame.payload != "last";
         frame = it.client.receive_frame()) {
        BOOST_REQUIRE_EQUAL(frame, pong(text(answered++)));
    }
    BOOST_CHECK(!it.server.has_input());
}

// Nobody holds it back: it is left unanswered for as long as it does not read.
BOOST_AUTO_TEST_CASE(pings_for_ever_from_an_upstream_that_does_not_read) {
    Proxied it(kNarrow);
    const uint64_t before = it.daemon.pss_bytes(0);
    constexpr unsigned kPings = 300'000;
    std::string pings;
    for (unsigned i = 0; i < kPings; ++i) {
        pings += frame_bytes(ControlType::ping, std::to_string(1'000'000 + i) + std::string(50, 'p'));
    }
    it.server.send(pings);
    it.settle();
    BOOST_CHECK_LT(it.daemon.pss_bytes(0), before + (1 << 20));
    it.client.send_frame(kType, "behind all answers");
    unsigned answered = 0;
    std::string newest;
    for (Frame frame = it.server.receive_frame(); frame.type != kType; frame = it.server.receive_frame()) {
        BOOST_REQUIRE(frame.is(ControlType::pong));
        BOOST_REQUIRE_LT(newest, frame.payload);
        newest = frame.payload;
        ++answered;
    }
    BOOST_CHECK_LT(answered, kPings);
    it.server.send_frame(ControlType::ping, "there again");
    BOOST_CHECK_EQUAL(it.server.receive_frame(), pong("there again"));
}

BOOST_AUTO_TEST_CASE(control_frames_of_the_upstream) {
    Proxied it;
    it.server.send(frame_bytes(ControlType::ping, "there?") + frame_bytes(ControlType::pong, "unasked"));
    BOOST_CHECK_EQUAL(it.server.receive_frame(), pong("there?"));
    const std::vector<Frame> relayed = {{type_of(ControlType::error), std::string("\x01\xADslow down", 11)},
                                        {type_of(ControlType::push), payload_of(4096)},
                                        {type_of(ControlType::goaway), std::string(4, '\xff') + "later"},
                                        {kType, "reply"}};
    it.server.send(bytes_of(relayed));
    check_same(it.client, relayed);
    // In the middle of what goes to it.
    const std::string request = frame_bytes(kType, payload_of(200'000));
    it.client.send(request.substr(0, 100'000));
    BOOST_CHECK(it.server.receive(100'000) == request.substr(0, 100'000));
    it.server.send_frame(ControlType::ping, "still?");
    it.settle();
    it.client.send(request.substr(100'000));
    BOOST_CHECK(it.server.receive(request.size() - 100'000) == request.substr(100'000));
    BOOST_CHECK_EQUAL(it.server.receive_frame(), pong("still?"));
    BOOST_CHECK(!it.client.has_input());
}

BOOST_AUTO_TEST_SUITE_END()
