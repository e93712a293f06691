// Sessions of framing tcpd: who may come in, whether they are still there, and what they are told before a
// listener goes.

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <thread>

#include "tests/support/framed_client.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;
using worker::FrameError;

namespace {

// Tokens and what sha256sum(1) makes of them.
constexpr const char* kAlpha = "alpha-token-15b";
constexpr const char* kBeta = "beta-token";
constexpr const char* kAlphaLine = "alice:f5f75126e9a5b7e4912a7a5cbd2e2b258366266967b4f6f56e8587be5612197a\n";
constexpr const char* kBetaLine = "bob:863d63c0bd3a94bfca84ed2063a7355a226faff82ca50b90158bf183aa1a9e61\n";

std::string listener(const std::string& keys = "", const std::string& name = "it") {
    return name + ": {listen: 127.0.0.1:0, framing: tcpd, handler: echo" + (keys.empty() ? "" : ", ") + keys +
           "}";
}

std::string config(const std::string& listeners, const std::string& more = "workers: 1\n") {
    return more + "listeners: {" + listeners + "}\n";
}

// A daemon that asks for tokens.
struct Guarded {
    TempDir folder;
    std::unique_ptr<TestDaemon> daemon;
    Address address;

    explicit Guarded(const std::string& keys = "", const std::string& more = "workers: 1\n") {
        write_tokens(std::string("# who\n") + kAlphaLine);
        daemon = std::make_unique<TestDaemon>(config(listener(auth() + keys), more));
        address = daemon->address("it");
    }
    std::string auth() const { return "auth: {methods: [token], tokens: " + (folder / "tokens") + "}"; }
    void write_tokens(const std::string& text) const { folder.write("tokens", text); }
    FramedClient client() const { return FramedClient(address); }
};

void reload(const TestDaemon& daemon, const std::string& text = "") {
    if (!text.empty()) {
        std::ofstream(daemon.config_path()) << "pid_file: " << (daemon.directory() / "tcpd.pid") << "\n"
                                            << text;
    }
    const Output output = daemon.verb("reload");
    BOOST_REQUIRE_MESSAGE(output.exit == 0, output.err);
}

std::string hex(std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) {
        for (const int half : {static_cast<uint8_t>(byte) >> 4, byte & 15}) text += "0123456789abcdef"[half];
    }
    return text;
}

int64_t ms_since(SteadyClock::time_point begin) { return (SteadyClock::now() - begin) / 1ms; }

constexpr int64_t kTick = 20;  // what time-outs are rounded by

}  // namespace

BOOST_AUTO_TEST_SUITE(session)

// -- authentication

BOOST_AUTO_TEST_CASE(the_right_token) {
    Guarded guarded;
    FramedClient first = guarded.client(), second = guarded.client();
    const std::string id = first.authenticate(kAlpha);
    BOOST_CHECK_NE(hex(id), hex(second.authenticate(kAlpha)));
    BOOST_CHECK(first.is_served() && second.is_served());
    first.send_frame(ControlType::ping, "p");
    BOOST_CHECK(first.receive_frame().is(ControlType::pong));
    first.end_output();
    first.expect_end();
    wait_for("its line", [&] { return guarded.daemon->count_in_err("session=" + hex(id)) == 1; });
    BOOST_CHECK_EQUAL(guarded.daemon->count_in_err("identity=alice"), 1U);
}

BOOST_AUTO_TEST_CASE(where_none_is_required_none_is_told) {
    TestDaemon daemon(config(listener()));
    FramedClient client(daemon.address("it"));
    BOOST_CHECK(client.is_served());
}

BOOST_AUTO_TEST_CASE(whatever_is_wrong_is_answered_and_closed) {
    Guarded guarded;
    const std::string wrong[] = {
        frame_bytes(ControlType::auth, credential("wrong")),
        frame_bytes(ControlType::auth, credential(std::string(kAlpha) + "x")),
        frame_bytes(ControlType::auth, credential(std::string(kAlpha).substr(1))),
        frame_bytes(ControlType::auth, credential("")), frame_bytes(ControlType::auth),
        frame_bytes(ControlType::auth, std::string("\2") + kAlpha),
        frame_bytes(ControlType::auth, credential(payload_of(4095))),
        // missing: something else comes first
        frame_bytes(7, "a message"), frame_bytes(7), frame_bytes(ControlType::ping),
        frame_bytes(ControlType::pong), frame_bytes(ControlType::push), frame_bytes(ControlType{0xFFFF}),
        frame_bytes(ControlType::close, "with a payload"), header_bytes(7, 100'000),  // known by its header
        // and what is too long as well
        header_bytes(7, 0xFFFFFFFF), header_bytes(type_of(ControlType::auth), 4097),
        header_bytes(type_of(ControlType::ping), 4097)};
    for (size_t i = 0; i < std::size(wrong); ++i) {
        BOOST_TEST_CONTEXT(i) {
            FramedClient client = guarded.client();
            client.send(wrong[i]);
            client.expect_last_error(FrameError::unauthorized);
        }
    }
    wait_for("the counts",
             [&] { return guarded.daemon->count("it", "closed unauthorized") == std::size(wrong); });
}

// Even where the file has its hash.
BOOST_AUTO_TEST_CASE(an_empty_token_is_nobodys) {
    Guarded guarded;
    const std::string nobody = "nobody:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
    guarded.write_tokens(kAlphaLine + nobody);
    reload(*guarded.daemon);
    FramedClient empty = guarded.client(), right = guarded.client();
    empty.send_frame(ControlType::auth, credential(""));
    empty.expect_last_error(FrameError::unauthorized);
    right.authenticate(kAlpha);
}

BOOST_AUTO_TEST_CASE(other_faults_than_a_wrong_token_come_first) {
    Guarded guarded;
    FramedClient magic = guarded.client(), end = guarded.client();
    magic.send("GET ");
    magic.expect_last_error(FrameError::malformed);
    end.send(std::string_view(frame_bytes(ControlType::auth, credential(kAlpha))).substr(0, 20));
    end.end_output();
    end.expect_end();
}

BOOST_AUTO_TEST_CASE(there_is_one_try) {
    Guarded guarded;
    FramedClient client = guarded.client();
    client.send(frame_bytes(ControlType::auth, credential("wrong")) +
                frame_bytes(ControlType::auth, credential(kAlpha)) + frame_bytes(7, "x"));
    client.expect_last_error(FrameError::unauthorized);
}

BOOST_AUTO_TEST_CASE(twice_is_a_malformed_frame) {
    Guarded guarded;
    FramedClient client = guarded.client();
    const std::string id = client.authenticate(kAlpha);
    for (const char* token : {kAlpha, "wrong"}) {
        client.send_frame(ControlType::auth, credential(token));
        client.expect_error(FrameError::malformed);
        BOOST_CHECK(client.is_served());
    }
}

BOOST_AUTO_TEST_CASE(late) {
    Guarded guarded(", timeouts: {auth: 1s}, heartbeat: {interval: 50ms, misses: 1}");
    const auto begin = SteadyClock::now();
    FramedClient silent = guarded.client(), slow = guarded.client(), in_time = guarded.client();
    in_time.authenticate(kAlpha);
    slow.send(std::string_view(frame_bytes(ControlType::auth, credential(kAlpha))).substr(0, 25));
    // No heartbeat before it is known who it is.
    silent.expect_last_error(FrameError::unauthorized);
    BOOST_CHECK_GE(ms_since(begin), 1000 - 2 * kTick);
    slow.expect_last_error(FrameError::unauthorized);
    silent.close();
    slow.close();
    wait_for("the counts", [&] { return guarded.daemon->count("it", "closed unauthorized") == 2; });
}

BOOST_AUTO_TEST_CASE(frames_behind_it_are_kept_until_it_is_accepted) {
    Guarded guarded;
    FramedClient client = guarded.client();
    std::vector<Frame> frames;
    for (unsigned i = 0; i < 300; ++i) frames.push_back({i, payload_of(i * 3, i)});
    frames.push_back({7, payload_of(100'000)});
    const std::string bytes = frame_bytes(ControlType::auth, credential(kAlpha)) + bytes_of(frames);
    client.send(bytes);
    BOOST_CHECK(client.receive_frame().is(ControlType::auth_ok));
    for (const Frame& frame : frames) BOOST_REQUIRE_EQUAL(client.receive_frame(), frame);
}

BOOST_AUTO_TEST_CASE(byte_by_byte) {
    Guarded guarded;
    FramedClient client = guarded.client();
    for (const char byte : frame_bytes(ControlType::auth, credential(kAlpha))) {
        BOOST_REQUIRE(!client.has_input());
        client.send(std::string_view(&byte, 1));
    }
    BOOST_CHECK(client.receive_frame().is(ControlType::auth_ok));
}

BOOST_AUTO_TEST_CASE(close_needs_no_token) {
    Guarded guarded;
    FramedClient client = guarded.client();
    client.send(frame_bytes(ControlType::close) + frame_bytes(ControlType::auth, credential(kAlpha)));
    client.expect_end();
    client.close();
    wait_for("the count", [&] { return guarded.daemon->count("it", "closed goodbye") == 1; });
}

BOOST_AUTO_TEST_CASE(tokens_follow_a_reload_and_sessions_go_on) {
    Guarded guarded;
    FramedClient old = guarded.client(), waiting = guarded.client();
    old.authenticate(kAlpha);
    waiting.send(std::string_view(frame_bytes(ControlType::auth, credential(kBeta))).substr(0, 8));
    guarded.write_tokens(kBetaLine);
    FramedClient early = guarded.client();
    early.send_frame(ControlType::auth, credential(kBeta));  // the file changed, but nobody has said so
    early.expect_last_error(FrameError::unauthorized);
    reload(*guarded.daemon);
    BOOST_CHECK(old.is_served());
    FramedClient removed = guarded.client(), added = guarded.client();
    removed.send_frame(ControlType::auth, credential(kAlpha));
    removed.expect_last_error(FrameError::unauthorized);
    added.authenticate(kBeta);
    BOOST_CHECK(added.is_served());
    waiting.send(std::string_view(frame_bytes(ControlType::auth, credential(kBeta))).substr(8));
    BOOST_CHECK(waiting.receive_frame().is(ControlType::auth_ok));
    guarded.daemon->check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(tokens_that_cannot_be_read_leave_all_as_it_was) {
    Guarded guarded;
    guarded.write_tokens("alice:rubbish-0123\n");
    const Output output = guarded.daemon->verb("reload");
    BOOST_CHECK_NE(output.exit, 0);
    BOOST_CHECK_EQUAL(output.err.find("rubbish"), std::string::npos);
    BOOST_CHECK_EQUAL(guarded.daemon->count_in_err("rubbish"), 0U);
    FramedClient client = guarded.client();
    client.authenticate(kAlpha);
}

BOOST_AUTO_TEST_CASE(no_token_is_in_the_log) {
    Guarded guarded("", "workers: 1\nlog: {level: trace}\n");
    FramedClient right = guarded.client(), wrong = guarded.client(), cut = guarded.client();
    right.authenticate(kAlpha);
    wrong.send_frame(ControlType::auth, credential("not-so-secret"));
    wrong.expect_last_error(FrameError::unauthorized);
    cut.send(header_bytes(type_of(ControlType::auth), 12) + credential("half-a-secret") + "rest of it");
    cut.expect_last_error(FrameError::unauthorized);
    guarded.daemon->kill_worker(0);
    BOOST_CHECK(right.is_served());
    right.send("in-stead-of-magic");
    right.expect_last_error(FrameError::malformed);
    for (auto* client : {&right, &wrong, &cut}) client->close();
    wait_for("their ends", [&] { return guarded.daemon->count("it", "open") == 0; });
    reload(*guarded.daemon);
    BOOST_CHECK_GE(guarded.daemon->count_in_err("a wrong token"), 1U);
    const Status status = guarded.daemon->status();
    for (const char* secret : {kAlpha, "not-so-secret", "half-a-secret", "f5f75126"}) {
        BOOST_CHECK_EQUAL(guarded.daemon->count_in_err(secret), 0U);
        BOOST_CHECK_EQUAL(status.text().find(secret), std::string::npos);
    }
}

// -- heartbeat

BOOST_AUTO_TEST_CASE(a_silent_client_is_lost_after_all_misses) {
    Guarded guarded(", heartbeat: {interval: 300ms, misses: 3}");
    FramedClient client = guarded.client();
    const auto begin = SteadyClock::now();
    const std::string id = client.authenticate(kAlpha);
    for (int64_t n = 1; n <= 3; ++n) {
        const Frame ping = client.receive_frame();
        BOOST_CHECK_EQUAL(ping, (Frame{type_of(ControlType::ping), ""}));
        BOOST_CHECK_GE(ms_since(begin), n * 300 - kTick);
    }
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
    const int64_t worst = ms_since(begin);
    BOOST_CHECK_GE(worst, 4 * 300 - kTick);
    BOOST_CHECK_LT(worst, 4 * 300 + 5000);
    wait_for("the count", [&] { return guarded.daemon->count("it", "closed heartbeat_lost") == 1; });
    wait_for("its line", [&] { return guarded.daemon->count_in_err(hex(id)) == 1; });
}

// A PONG, a whole frame, part of one. Each round is shorter than the time in which a silent client is lost,
// so that the test has time to run, and the rounds together are longer.
BOOST_AUTO_TEST_CASE(any_byte_is_a_sign_of_life) {
    TestDaemon daemon(config(listener("heartbeat: {interval: 300ms, misses: 3}")));
    const std::string long_one = frame_bytes(7, payload_of(300));
    FramedClient client(daemon.address("it"));
    for (int i = 0; i < 5; ++i) {
        BOOST_CHECK(client.receive_frame().is(ControlType::ping));
        client.send_frame(ControlType::pong);
    }
    for (size_t i = 0; i < 5; ++i) {
        BOOST_CHECK(client.receive_frame().is(ControlType::ping));
        client.send(std::string_view(long_one).substr(i, 1));
    }
    const auto begin = SteadyClock::now();
    client.send(std::string_view(long_one).substr(5));
    Frame reply = client.receive_frame();
    while (reply.is(ControlType::ping)) reply = client.receive_frame();  // one that it was late for
    BOOST_CHECK_EQUAL(reply, (Frame{7, payload_of(300)}));
    BOOST_CHECK(client.receive_frame().is(ControlType::ping));
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
    BOOST_CHECK_GE(ms_since(begin), 4 * 300 - 2 * kTick);
}

BOOST_AUTO_TEST_CASE(a_busy_client_gets_no_ping) {
    TestDaemon daemon(config(listener("heartbeat: {interval: 1s, misses: 1}")));
    FramedClient client(daemon.address("it"));
    const auto begin = SteadyClock::now();
    while (ms_since(begin) < 2500) BOOST_REQUIRE(client.is_served());
}

// Its time is the one to flush, whatever the heartbeat; it could not answer a PING.
BOOST_AUTO_TEST_CASE(none_after_the_clients_end) {
    TestDaemon daemon(
        config(listener("heartbeat: {interval: 500ms, misses: 1}, limits: {output_high: "
                        "4MiB, output_low: 1MiB}")));
    FramedClient client(daemon.address("it"), {.receive_buffer = 4096, .segment = 536});
    std::vector<Frame> frames;
    for (unsigned i = 0; i < 100; ++i) frames.push_back({i, payload_of(3000, i)});
    client.send(bytes_of(frames));
    client.end_output();
    const auto begin = SteadyClock::now();
    wait_for("more than the heartbeat's time", [&] { return ms_since(begin) > 1500; });
    for (const Frame& frame : frames) BOOST_REQUIRE_EQUAL(client.receive_frame(), frame);
    client.expect_end();
    wait_for("the count", [&] { return daemon.count("it", "closed finished") == 1; });
}

// What it sends waits in the kernel as long as its replies wait for it: that is no silence.
BOOST_AUTO_TEST_CASE(a_client_that_is_held_back_is_not_silent) {
    TestDaemon daemon(
        config(listener("max_frame: 100MiB, heartbeat: {interval: 500ms, misses: 1}, limits: {output_high: "
                        "16KiB, output_low: 4KiB}")));
    // More than the kernel's buffers take: what it sends is not read to the end.
    std::string much;
    const std::string one = frame_bytes(7, std::string(60'000, 'x'));
    for (int i = 0; i < 1000; ++i) much += one;
    FramedClient client(daemon.address("it"), {.receive_buffer = 4096, .segment = 536});
    const std::jthread sender([&] {
        try {
            client.send(much);
        } catch (const Failed&) {  // cut off below
        }
    });
    const auto begin = SteadyClock::now();
    wait_for("more than the heartbeat's time", [&] { return ms_since(begin) > 1500; });
    BOOST_CHECK_EQUAL(daemon.count("it", "open"), 1U);
    shutdown(client.fd(), SHUT_RDWR);
}

// -- drain

BOOST_AUTO_TEST_CASE(goaway_with_the_grace_that_is_left) {
    TestDaemon daemon(config(listener(), "workers: 1\ndrain: {stop: 3s, spread: false}\n"));
    FramedClient client(daemon.address("it"));
    BOOST_CHECK(client.is_served());
    const auto begin = SteadyClock::now();
    daemon.send(SIGTERM);
    const uint32_t grace_ms = client.expect_goaway();
    BOOST_CHECK_LT(ms_since(begin), 2000);
    BOOST_CHECK(grace_ms > 1000 && grace_ms <= 3000);
    // It goes on, and is answered until the end.
    const auto is_answered = [&] {
        client.send_frame(7, "more");
        const std::string header = [&] {
            try {
                return client.receive(1);
            } catch (const Failed&) {
                return std::string();
            }
        }();
        return !header.empty() && client.receive(worker::kTcpdHeaderBytes + 3).ends_with("more");
    };
    while (is_answered()) BOOST_REQUIRE_LT(ms_since(begin), 10'000);
    BOOST_CHECK_GE(ms_since(begin), grace_ms - 100);
    client.expect_end();
    client.close();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

// In the first half of the time, so that all have some left to finish in.
BOOST_AUTO_TEST_CASE(goaways_are_spread) {
    TestDaemon daemon(config(listener(), "workers: 2\ndrain: {stop: 4s, spread: true}\n"));
    const Address address = daemon.address("it");
    std::vector<std::unique_ptr<FramedClient>> clients;
    for (int i = 0; i < 40; ++i) {
        clients.push_back(std::make_unique<FramedClient>(address));
        BOOST_REQUIRE(clients.back()->is_served());
    }
    const auto begin = SteadyClock::now();
    daemon.send(SIGTERM);
    const auto told_at = [&](int64_t at) {
        wait_for("the time", [&] { return ms_since(begin) >= at; });
        return std::count_if(clients.begin(), clients.end(),
                             [](auto& client) { return client->has_input(); });
    };
    const auto in_between = told_at(1000);
    BOOST_TEST_MESSAGE(in_between << " of 40 were told after a quarter");
    BOOST_CHECK(in_between > 5 && in_between < 35);
    wait_for("all to be told", [&] { return told_at(0) == 40; });
    BOOST_CHECK_LT(ms_since(begin), 3000);
    std::vector<uint32_t> graces;
    for (auto& client : clients) graces.push_back(client->expect_goaway());
    const auto [least, most] = std::minmax_element(graces.begin(), graces.end());
    BOOST_CHECK_GE(*least, 1000U);
    BOOST_CHECK_LE(*most, 4000U);
    BOOST_CHECK_GE(*most - *least, 500U);
    for (auto& client : clients) BOOST_CHECK(client->is_served());
    for (auto& client : clients) client->expect_end();
    BOOST_CHECK_GE(ms_since(begin), 3000);
    clients.clear();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(without_a_limit) {
    TestDaemon daemon(config(listener(), "workers: 1\ndrain: {stop: 0, spread: true}\n"));
    FramedClient client(daemon.address("it"));
    BOOST_CHECK(client.is_served());
    daemon.send(SIGTERM);
    BOOST_CHECK_EQUAL(client.expect_goaway(), worker::kNoGraceLimit);
    for (int i = 0; i < 10; ++i) BOOST_CHECK(client.is_served());
    client.send_frame(ControlType::close);
    client.expect_end();
    client.close();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(goaway_before_authentication_does_not_end_it) {
    Guarded guarded("", "workers: 1\ndrain: {stop: 1m, spread: false}\n");
    FramedClient client = guarded.client();
    wait_for("the connection", [&] { return guarded.daemon->count("it", "open") == 1; });
    guarded.daemon->send(SIGTERM);
    client.expect_goaway();
    client.authenticate(kAlpha);
    BOOST_CHECK(client.is_served());
    client.end_output();
    client.expect_end();
    client.close();
    BOOST_CHECK_EQUAL(guarded.daemon->wait_exit(), 0);
}

BOOST_AUTO_TEST_CASE(goaway_for_a_listener_that_a_reload_removes) {
    const std::string both = listener() + ", " + listener("", "old");
    TestDaemon daemon(config(both));
    FramedClient kept(daemon.address("it")), old(daemon.address("old"));
    BOOST_CHECK(kept.is_served() && old.is_served());
    const auto begin = SteadyClock::now();
    reload(daemon, config(listener(), "workers: 1\ndrain: {replaced: 3s, spread: false}\n"));
    const uint32_t grace_ms = old.expect_goaway();
    BOOST_CHECK_LE(grace_ms, 3000U);
    BOOST_CHECK(old.is_served());
    old.expect_end();
    BOOST_CHECK_GE(ms_since(begin), 3000 / 2);
    old.close();
    BOOST_CHECK(kept.is_served());
    BOOST_CHECK(!kept.has_input());
    wait_for("the end", [&] { return daemon.count("old", "open") == 0; });
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_CASE(the_smaller_grace_counts) {
    const std::string both = listener() + ", " + listener("", "old");
    const std::string drain = "workers: 1\ndrain: {replaced: 1m, stop: 2s, spread: false}\n";
    TestDaemon daemon(config(both, drain));
    FramedClient old(daemon.address("old"));
    BOOST_CHECK(old.is_served());
    reload(daemon, config(listener(), drain));
    BOOST_CHECK_GE(old.expect_goaway(), 30'000U);
    reload(daemon, config(listener(), drain));
    BOOST_CHECK(old.is_served());  // not told again of what it knows
    daemon.send(SIGTERM);
    BOOST_CHECK_LE(old.expect_goaway(), 2000U);
    BOOST_CHECK(old.is_served());
    old.expect_end();
    old.close();
    BOOST_CHECK_EQUAL(daemon.wait_exit(), 0);
}

BOOST_AUTO_TEST_SUITE_END()
