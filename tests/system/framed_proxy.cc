// Frames that go on to an upstream: whole ones only, what tcpd answers itself and where between them, and
// that replies in flight come before any end. The test plays the upstream.

#include <sys/socket.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <thread>

#include "tests/support/fake_upstream.h"
#include "tests/support/framed_client.h"
#include "tests/support/played_upstream.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;
using worker::FrameError;

namespace {

constexpr uint32_t kType = 0x0102;
constexpr size_t kGathered = 64 * 1024 - worker::kTcpdHeaderBytes;  // the longest that is not passed on
constexpr size_t kLong = 1 << 20;
constexpr const char* kToken = "alpha-token-15b";
constexpr const char* kTokens = "alice:f5f75126e9a5b7e4912a7a5cbd2e2b258366266967b4f6f56e8587be5612197a\n";
// Little is taken by the kernel: what is not read waits in the daemon.
constexpr ClientOptions kSlow{.receive_buffer = 16 * 1024, .segment = 1460};
constexpr const char* kNarrow = ", limits: {output_high: 16KiB, output_low: 4KiB}";

std::string config(const std::string& upstream, const std::string& keys, const std::string& more = "",
                   const std::string& framing = "tcpd") {
    return "workers: 1\n" + more + "listeners: {it: {listen: 127.0.0.1:0, framing: " + framing +
           ", handler: {proxy: back}" + keys + "}}\nupstreams: {back: {servers: ['" + upstream + "']}}\n";
}

// A client, and what its frames go to.
struct Ends {
    FramedClient client, server;
};

struct Proxied {
    PlayedUpstream upstream;
    TestDaemon daemon;
    Address address;
    FramedClient client, server, bystander, server_of_bystander;

    explicit Proxied(const std::string& keys = "", const ClientOptions& options = {},
                     const std::string& more = "", const std::string& framing = "tcpd")
        : daemon(config(upstream.text(), keys, more, framing)),
          address(daemon.address("it")),
          client(address, options),
          server(upstream.accept()),
          bystander(address),
          server_of_bystander(upstream.accept()) {}
    Ends another() const {
        FramedClient one(address);
        return {std::move(one), upstream.accept()};
    }
    // The one worker has handled whatever was sent before.
    void settle() {
        bystander.send_frame(ControlType::ping, "settled?");
        BOOST_REQUIRE(bystander.receive_frame().is(ControlType::pong));
    }
    void wait_closed(const std::string& reason, uint64_t count = 1) const {
        wait_for("the count of " + reason, [&] { return daemon.count("it", "closed " + reason) == count; });
    }
    void change_hands() {
        daemon.wait_complete(1);
        daemon.kill_worker(0);
        BOOST_REQUIRE_EQUAL(daemon.verb("reload").exit, 0);
        daemon.kill_worker(0);
    }
};

std::vector<Frame> frames(unsigned count, unsigned seed = 0) {
    std::vector<Frame> list;
    for (unsigned i = 0; i < count; ++i)
        list.push_back({kType + i % 5, payload_of((i + seed) * 31 % 700, i)});
    return list;
}

void check_same(FramedClient& from, const std::vector<Frame>& expected) {
    for (const Frame& frame : expected) BOOST_REQUIRE_EQUAL(from.receive_frame(), frame);
}

Frame pong(const std::string& payload) { return {type_of(ControlType::pong), payload}; }

// Orderly or not.
bool ends_without_a_byte(const FramedClient& client) {
    char byte;
    const ssize_t got = recv(client.fd(), &byte, 1, 0);
    return got == 0 || (got < 0 && errno != EAGAIN);
}

// Sends from a thread of its own, and says how far it came.
class Sender {
public:
    Sender(FramedClient& client, uint64_t count, const std::function<std::string(uint64_t)>& piece)
        : thread_([this, &client, count, piece] {
              try {
                  for (; sent_ < count; ++sent_) client.send(piece(sent_));
              } catch (const Failed&) {  // seen by who reads
              }
          }) {}
    uint64_t sent() const { return sent_; }
    void wait_stuck() const {
        uint64_t before = 0, same = 0;
        wait_for("the sender to be held back", [&] {
            same = before == sent_ ? same + 1 : 0;
            before = sent_;
            return same == 150;
        });
    }

private:
    std::atomic<uint64_t> sent_{0};
    std::jthread thread_;
};

// One after the other without a pause, then a short one.
class LongReplies {
public:
    static Frame nth(unsigned n) { return {kType, payload_of(150'000, n % 8)}; }
    explicit LongReplies(FramedClient& server)
        : thread_([this, &server] {
              std::string bytes;
              for (unsigned i = 0; i < 8; ++i) bytes += bytes_of({nth(i)});
              try {
                  while (!is_over_) server.send(bytes);
                  server.send_frame(kType + 1, "the last");
              } catch (const Failed&) {  // seen by who reads
              }
          }) {}
    ~LongReplies() { end(); }
    void end() { is_over_ = true; }

private:
    std::atomic<bool> is_over_ = false;
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
                if (bytes >= 5000 && at / piece == 9) it.change_hands();
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
    it.change_hands();
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
        if (changes_hands) it.change_hands();
        const std::jthread rest([&] { it.client.send(request.substr(half)); });
        BOOST_CHECK(it.server.receive(request.size() - half) == request.substr(half));
        for (const char c : {'a', 'b', 'c'}) it.client.send_frame(ControlType::ping, std::string(60, c));
        it.settle();
        BOOST_CHECK(!it.client.has_input());
        if (changes_hands) it.change_hands();
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
        constexpr uint64_t kCount = 60'000;
        const auto is_ping = [](uint64_t i) { return i % 10 == 9; };
        const auto text = [](uint64_t i) { return std::to_string(i) + payload_of(40 + i % 90); };
        const Sender sender(it.client, kCount, [&](uint64_t i) {
            return is_ping(i) ? frame_bytes(ControlType::ping, std::to_string(i))
                              : frame_bytes(kType, text(i));
        });
        sender.wait_stuck();
        BOOST_CHECK_LT(sender.sent(), kCount);
        BOOST_TEST_MESSAGE("held back after " << sender.sent());
        if (changes_hands) it.change_hands();
        uint64_t reply = 0, answered = 9;
        for (uint64_t i = 0; i < kCount; ++i) {
            const Frame frame = it.client.receive_frame();
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

BOOST_AUTO_TEST_CASE(pings_for_ever_from_a_client_that_does_not_read) {
    Proxied it(kNarrow, kSlow);
    const uint64_t before = it.daemon.pss_bytes(0);
    constexpr uint64_t kCount = 100'000;
    const auto text = [](uint64_t i) { return std::to_string(i) + std::string(50, 'p'); };
    const Sender sender(it.client, kCount,
                        [&](uint64_t i) { return frame_bytes(ControlType::ping, text(i)); });
    sender.wait_stuck();
    BOOST_CHECK_LT(sender.sent(), kCount);
    BOOST_CHECK_LT(it.daemon.pss_bytes(0), before + (1 << 20));
    BOOST_TEST_MESSAGE("held back after " << sender.sent());
    for (uint64_t i = 0; i < kCount; ++i) BOOST_REQUIRE_EQUAL(it.client.receive_frame(), pong(text(i)));
    BOOST_CHECK(!it.server.has_input());
}

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
    if (changes_hands) it.change_hands();
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

BOOST_AUTO_TEST_CASE(an_upstream_that_stays_after_the_last_reply) {
    Proxied it(", timeouts: {half_close: 300ms}");
    Ends second = it.another();
    it.client.send(frame_bytes(kType, "request") + frame_bytes(ControlType::close) + "behind it");
    second.client.send(frame_bytes(kType, "request") + "GET / HTTP/1.1\r\n\r\n");
    for (auto* server : {&it.server, &second.server}) {
        BOOST_CHECK_EQUAL(server->receive_frame().payload, "request");
        server->expect_end();
        server->send_frame(kType, "reply");
    }
    for (auto* client : {&it.client, &second.client}) {
        BOOST_CHECK_EQUAL(client->receive_frame(), (Frame{kType, "reply"}));
    }
    it.client.expect_end();
    second.client.expect_last_error(FrameError::malformed);
    for (auto* client : {&it.client, &second.client}) client->close();
    for (const char* reason : {"goodbye", "malformed"}) it.wait_closed(reason);
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

BOOST_AUTO_TEST_CASE(nobody_listens) {
    const RefusingPort refusing;
    const TestDaemon daemon(config(refusing.text(), ""));
    FramedClient silent(daemon.address("it"));
    silent.expect_last_error(FrameError::unavailable);
    FramedClient client(daemon.address("it"));
    client.send(bytes_of(frames(100)));
    client.expect_last_error(FrameError::unavailable);
    const TestDaemon other(
        config(refusing.text(), "", "framings: {dns: {length: {offset: 0, size: 2}}}\n", "dns"));
    BlockingClient resolver(other.address("it"));
    BOOST_CHECK(resolver.wait_end() != Ending::timed_out);
    silent.close();
    client.close();
    for (const auto* one : {&daemon, &other}) {
        const uint64_t expected = one == &daemon ? 2 : 1;
        wait_for("the count", [&] { return one->count("it", "closed upstream_refused") == expected; });
    }
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

BOOST_AUTO_TEST_CASE(nothing_goes_on_before_authentication) {
    const TempDir folder;
    const PlayedUpstream upstream;
    const TestDaemon daemon(config(
        upstream.text(), ", auth: {methods: [token], tokens: " + folder.write("tokens", kTokens) + "}"));
    FramedClient refused(daemon.address("it"));
    FramedClient server_of_refused = upstream.accept();
    refused.send(bytes_of(frames(10)));
    refused.expect_last_error(FrameError::unauthorized);
    BOOST_CHECK(ends_without_a_byte(server_of_refused));

    FramedClient client(daemon.address("it"));
    FramedClient server = upstream.accept();
    const std::string auth = frame_bytes(ControlType::auth, credential(kToken));
    client.send(auth.substr(0, 20));
    const std::vector<Frame> behind = frames(50);
    client.send(auth.substr(20) + bytes_of(behind));
    BOOST_CHECK(client.receive_frame().is(ControlType::auth_ok));
    check_same(server, behind);
    server.send_frame(kType, "reply");
    BOOST_CHECK_EQUAL(client.receive_frame(), (Frame{kType, "reply"}));
}

BOOST_AUTO_TEST_CASE(a_drain) {
    Proxied it("", {}, "drain: {stop: 3s, spread: false}\n");
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
