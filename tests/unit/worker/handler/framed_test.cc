// Framed listeners without processes: what is due when, by a clock of our own; what a successor makes of it.

#include "worker/handler/framed.h"

#include <openssl/sha.h>

#include "tests/unit/worker/slot_fixture.h"

namespace tcpd::worker {
namespace {

using namespace std::chrono_literals;

std::string frame(uint32_t type, std::string_view payload = {}) {
    std::string text(kTcpdMagic);
    text += '\x01';
    for (int shift : {8, 0}) text += static_cast<char>(type >> shift);
    for (int shift : {24, 16, 8, 0}) text += static_cast<char>(payload.size() >> shift);
    return text.append(payload);
}

std::string control(ControlType type, std::string_view payload = {}) {
    return frame(static_cast<uint32_t>(type), payload);
}

std::string error(FrameError code, std::string_view reason) {
    const auto number = static_cast<uint16_t>(code);
    const std::string payload{static_cast<char>(number >> 8), static_cast<char>(number)};
    return control(ControlType::error, payload + std::string(reason));
}

// Printable: "PING ", "7:5000 " (type and bytes), "ERROR 400 text ".
std::string shown(std::string_view bytes) {
    std::string text;
    const Framing framing(*conf::find_built_in_framing("tcpd"));
    for (FrameProgress one; framing.feed(one, {}, bytes) == FrameStep::whole; one = {}) {
        const std::string_view payload = bytes.substr(one.header_bytes, one.payload_bytes());
        bytes.remove_prefix(one.total_bytes);
        switch (static_cast<ControlType>(one.type)) {
            case ControlType::ping: text += "PING "; break;
            case ControlType::pong: text += "PONG "; break;
            case ControlType::error:
                text += "ERROR " + std::to_string(static_cast<uint8_t>(payload[0]) * 256 +
                                                  static_cast<uint8_t>(payload[1]));
                text += " " + std::string(payload.substr(2)) + " ";
                break;
            default: text += std::to_string(one.type) + ":" + std::to_string(payload.size()) + " ";
        }
    }
    return bytes.empty()
               ? text
               : text + "and " + std::to_string(bytes.size()) + " bytes: " + std::string(bytes.substr(0, 5));
}

conf::Listener tcpd_listener() {
    conf::Listener listener;
    listener.name = "it";
    listener.framing = *conf::find_built_in_framing("tcpd");
    return listener;
}

struct FramedFixture : SlotFixture {
    explicit FramedFixture(conf::Listener listener = tcpd_listener()) : config(std::move(listener)) {
        install();
        now_ns = monotonic_ns();
        set_now();
    }
    void install() {
        framed =
            std::make_unique<Framed>(worker->connections, config, nullptr, config.framing.max_frame_bytes);
        worker->rules[0].handler = framed.get();
        worker->rules[0].closing = ticks_of(30'000'000'000);
    }
    void succeed() {
        auto next = seat();
        framed.reset();
        worker = std::move(next);
        install();
        set_now();
        worker->adopt();
    }
    void set_now() { worker->connections.set_now(now_ns); }
    void turn() {
        epoll_event events[64];
        for (int n = worker->connections.poller().poll(events, 64); n > 0;
             n = worker->connections.poller().poll(events, 64)) {
            for (int i = 0; i < n; ++i) worker->connections.on_event(events[i]);
        }
    }
    // In steps as a loop's tick takes them.
    void pass(Duration time) {
        const uint64_t end = now_ns + to_ns(time);
        while (now_ns < end) {
            now_ns = std::min(end, now_ns + 50'000'000);
            set_now();
            turn();
            worker->connections.look_at_deadlines();
        }
    }
    Ends client() {
        Ends ends = connect_over_loopback();
        slot::Record record = fields(0, slot::State::open);
        record.opened_ns = now_ns;
        record.active_tick = record.input_tick = worker->connections.now();
        worker->connections.watch(worker->connections.publish_accepted(ends.server, record, {}));
        return ends;
    }
    std::string ask(const Ends& e, const std::string& bytes) {
        write_all(e.client.get(), bytes);
        turn();
        return read_now(e.client.get());
    }
    void asks_in_pieces(const Ends& e, const std::string& bytes) {
        std::string echo;
        for (size_t at = 0; at < bytes.size(); at += 20'000) echo += ask(e, bytes.substr(at, 20'000));
        BOOST_TEST((echo == bytes));
    }
    void asks(const Ends& e, const std::string& bytes, const std::string& wanted) {
        BOOST_TEST(shown(ask(e, bytes)) == shown(wanted));
    }
    slot::SessionRecord& session(const Ends& e) { return memory.sessions()[e.server]; }
    bool session_is_inside_frame(const Ends& e) { return Session(session(e)).is_inside_frame(); }
    size_t closed(slot::CloseReason reason) {
        return memory.scoreboard().listeners[0].closed[static_cast<size_t>(reason)];
    }
    void check_no_chunk_is_left() {
        // The one that is received into stays, and is not counted.
        BOOST_TEST(worker->connections.chunks().used_bytes() == 0u);
    }

    conf::Listener config;
    std::unique_ptr<Framed> framed;
    uint64_t now_ns = 0;
};

struct AuthFixture : FramedFixture {
    AuthFixture() : FramedFixture(listener()) {}
    static conf::Listener listener() {
        conf::Listener one = tcpd_listener();
        one.auth.by_token = true;
        conf::Token token{"alice", {}};
        SHA256(reinterpret_cast<const unsigned char*>("secret"), 6, token.sha256.data());
        one.auth.tokens = {token};
        return one;
    }
};

struct RateFixture : FramedFixture {
    RateFixture() : FramedFixture(listener("tcpd")) {}
    static conf::Listener listener(const char* framing) {
        conf::Listener one = tcpd_listener();
        one.framing = *conf::find_built_in_framing(framing);
        one.limits.message_rate = {2, 1s};
        return one;
    }
};

struct LineRateFixture : FramedFixture {
    LineRateFixture() : FramedFixture(RateFixture::listener("line")) {}
};

struct LongFixture : FramedFixture {
    explicit LongFixture(const conf::Framing& framing) : FramedFixture(listener(framing)) {}
    static conf::Listener listener(const conf::Framing& framing) {
        conf::Listener one = tcpd_listener();
        one.framing = framing;
        one.framing.max_frame_bytes = 1 << 20;
        return one;
    }
    // In as many turns as the sockets need.
    std::string echo(const Ends& e, const std::string& bytes, size_t wanted) {
        write_all(e.client.get(), bytes);
        std::string text;
        for (int i = 0; i < 1000 && text.size() < wanted; ++i) {
            turn();
            text += read_now(e.client.get());
        }
        return text;
    }
};

struct LineFixture : LongFixture {
    LineFixture() : LongFixture(*conf::find_built_in_framing("line")) {}
};

}  // namespace

BOOST_AUTO_TEST_SUITE(worker_framed)

BOOST_FIXTURE_TEST_CASE(the_silent_are_asked_three_times_and_lost_after_four_intervals, FramedFixture) {
    const Ends e = client();
    std::string heard;
    for (int i = 0; i < 3; ++i) {
        pass(29s);
        BOOST_TEST(read_now(e.client.get()) == "");
        pass(1100ms);
        BOOST_TEST(shown(read_now(e.client.get())) == shown(control(ControlType::ping)));
    }
    pass(28s);
    BOOST_TEST(!!at(e.server));
    pass(3s);
    BOOST_TEST(!at(e.server));
    BOOST_TEST(closed(slot::CloseReason::heartbeat_lost) == 1u);
}

BOOST_FIXTURE_TEST_CASE(any_byte_is_a_sign_of_life, FramedFixture) {
    const Ends e = client();
    const std::string slow = frame(1, "hello");
    for (size_t i = 0; i + 1 < slow.size(); ++i) {
        pass(40s);
        const std::string heard = read_now(e.client.get());
        BOOST_TEST((heard == control(ControlType::ping) || heard.empty()));
        write_all(e.client.get(), slow.substr(i, 1));
        turn();
        BOOST_REQUIRE(!!at(e.server));
    }
    asks(e, slow.substr(slow.size() - 1), slow);
}

BOOST_FIXTURE_TEST_CASE(a_successor_goes_on_counting_pings, FramedFixture) {
    const Ends e = client();
    pass(61s);
    BOOST_TEST(shown(read_now(e.client.get())) ==
               shown(control(ControlType::ping) + control(ControlType::ping)));
    succeed();
    pass(30s);
    BOOST_TEST(shown(read_now(e.client.get())) == shown(control(ControlType::ping)));
    succeed();
    pass(30s);
    BOOST_TEST(!at(e.server));
}

BOOST_FIXTURE_TEST_CASE(a_frame_that_stalls_ends_the_connection, FramedFixture) {
    const Ends e = client();
    asks(e, frame(1, "a") + frame(2, "b").substr(0, 9), frame(1, "a"));
    pass(20s);
    write_all(e.client.get(), "\x01");
    pass(58s);
    BOOST_REQUIRE(!!at(e.server));
    (void)read_now(e.client.get());
    pass(3s);
    BOOST_TEST(shown(read_now(e.client.get())) == shown(error(FrameError::malformed, "the frame stalled")));
    BOOST_TEST(read_now(e.client.get()) == "EOF");
    pass(2s);
    BOOST_TEST(closed(slot::CloseReason::stalled) == 1u);
    check_no_chunk_is_left();
}

BOOST_FIXTURE_TEST_CASE(who_closes_is_let_go_within_a_second, FramedFixture) {
    const Ends e = client();
    BOOST_TEST(ask(e, "GET / HTTP/1.1\r\n") == error(FrameError::malformed, "bad magic"));
    BOOST_TEST(read_now(e.client.get()) == "EOF");
    write_all(e.client.get(), std::string(5000, 'x'));
    pass(800ms);
    BOOST_REQUIRE(!!at(e.server));
    pass(400ms);
    BOOST_TEST(!at(e.server));
    BOOST_TEST(closed(slot::CloseReason::malformed) == 1u);
}

BOOST_FIXTURE_TEST_CASE(who_closes_and_never_stops_is_let_go_after_a_mebibyte, FramedFixture) {
    const Ends e = client();
    BOOST_TEST(ask(e, "GET / HTTP/1.1\r\n") == error(FrameError::malformed, "bad magic"));
    const std::string much(64 * 1024, 'x');
    size_t sent = 0;
    for (; sent < 2'000'000 && at(e.server); turn()) {
        const ssize_t n = send(e.client.get(), much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) sent += static_cast<size_t>(n);
    }
    BOOST_TEST(!at(e.server));
    BOOST_TEST(sent > 1024u * 1024);
}

BOOST_FIXTURE_TEST_CASE(authentication_is_awaited_for_five_seconds, AuthFixture) {
    const Ends e = client();
    pass(4900ms);
    BOOST_TEST(read_now(e.client.get()) == "");
    succeed();
    pass(200ms);
    BOOST_TEST(shown(read_now(e.client.get())) ==
               shown(error(FrameError::unauthorized, "authentication is late")));
    pass(2s);
    BOOST_TEST(closed(slot::CloseReason::unauthorized) == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_session_outlives_its_worker_in_each_state, AuthFixture) {
    const Ends e = client();
    const std::string auth = control(ControlType::auth, "\x01secret");
    asks(e, auth.substr(0, 13), "");
    succeed();
    const std::string id(reinterpret_cast<const char*>(session(e).id), sizeof session(e).id);
    asks(e, auth.substr(13), control(ControlType::auth_ok, id));
    succeed();
    BOOST_TEST(std::string(session(e).identity, session(e).identity_bytes) == "alice");
    const std::string half = frame(7, std::string(5000, 'x'));
    asks(e, half.substr(0, 4500), "");
    succeed();
    asks(e, half.substr(4500), half);
    const std::string big = frame(7, std::string(200'000, 'y'));
    std::string back = ask(e, big.substr(0, 1000));
    succeed();
    for (size_t i = 1000; i < big.size(); i += 50'000) {
        back += ask(e, big.substr(i, 50'000));
        back += read_now(e.client.get());
    }
    BOOST_TEST((back == big));
    BOOST_TEST(ask(e, control(ControlType::close)) == "EOF");
    succeed();
    pass(1100ms);
    BOOST_TEST(closed(slot::CloseReason::goodbye) == 1u);
    BOOST_TEST(lost() == 0u);
    check_no_chunk_is_left();
}

BOOST_FIXTURE_TEST_CASE(an_identity_in_quarantine_is_refused, AuthFixture) {
    Connections& connections = worker->connections;
    const uint64_t key = connections.addresses().key_of_name(0, "alice");
    for (int i = 0; i < 3; ++i) connections.quarantine().note(key, connections.now());
    const Ends e = client();
    asks(e, control(ControlType::auth, "\x01secret"), error(FrameError::unavailable, "refused for a while"));
    pass(11min);
    const Ends later = client();
    asks(later, control(ControlType::auth, "\x01secret"),
         control(ControlType::auth_ok, std::string(16, ' ')));
}

BOOST_FIXTURE_TEST_CASE(a_successor_follows_no_session_that_makes_no_sense, FramedFixture) {
    struct Row {
        const char* what;
        void (*spoil)(slot::SessionRecord&);
    };
    const Row rows[] = {
        {"state", [](slot::SessionRecord& s) { s.word = 99; }},
        {"chunk", [](slot::SessionRecord& s) { s.in = 0xFFFFFFF; }},
        {"no chunk", [](slot::SessionRecord& s) { s.in = 0; }},
        {"seen", [](slot::SessionRecord& s) { s.progress[1] = 5000; }},
        {"seen all", [](slot::SessionRecord& s) { s.progress[1] = s.progress[0]; }},
        {"identity", [](slot::SessionRecord& s) { s.identity_bytes = 48; }},
        {"later", [](slot::SessionRecord& s) { s.later = 1 << 30; }},
        {"the same chunk", [](slot::SessionRecord& s) { s.later = s.in; }},
        {"streamed", [](slot::SessionRecord& s) { s.word |= uint64_t{slot::kPassingOn} << 16; }},
    };
    uint64_t lost_so_far = 0;
    for (const Row& row : rows) {
        BOOST_TEST_CONTEXT(row.what) {
            const Ends e = client();
            asks(e, frame(1, "hello").substr(0, 13), "");
            row.spoil(session(e));
            succeed();
            BOOST_TEST(!at(e.server));
            BOOST_TEST(lost() == ++lost_so_far);
        }
    }
    check_no_chunk_is_left();
}

BOOST_FIXTURE_TEST_CASE(messages_beyond_their_rate_are_refused_in_their_place, RateFixture) {
    const Ends e = client();
    const std::string no = error(FrameError::too_many, "too many messages");
    asks(e, frame(1) + frame(2) + frame(3) + control(ControlType::ping) + frame(4),
         frame(1) + frame(2) + no + control(ControlType::pong) + no);
    pass(500ms);
    asks(e, frame(5) + frame(6), frame(5) + no);
    const std::string long_one = frame(7, std::string(100'000, 'x'));
    asks(e, long_one.substr(0, 60'000), no);
    pass(500ms);
    asks(e, long_one.substr(60'000) + frame(8), frame(8));
}

// Each is a message, and an answer.
BOOST_FIXTURE_TEST_CASE(messages_that_no_route_takes_keep_to_the_rate, RateFixture) {
    config.handler.kind = conf::HandlerKind::routes;
    config.handler.routes = {{.types = {{9, 9}}, .action = conf::RouteAction::error, .error = 429}};
    install();
    const Ends e = client();
    const std::string none = error(FrameError::malformed, "no route for this type");
    const std::string no = error(FrameError::too_many, "too many messages");
    asks(e, frame(1) + frame(2) + frame(3), none + none + no);
    pass(500ms);
    asks(e, frame(9) + frame(4), no + no);
    const std::string gathered = frame(5, std::string(1000, 'x')), bare = frame(6);
    for (const std::string& slow : {gathered, bare}) {
        pass(500ms);
        asks(e, slow.substr(0, 10), "");
        asks(e, slow.substr(10) + frame(7), none + no);
    }
    pass(500ms);
    asks(e, gathered.substr(0, 20), none);
    asks(e, gathered.substr(20) + frame(7), no);
    BOOST_TEST(session(e).messages == 0u);
}

BOOST_FIXTURE_TEST_CASE(what_is_never_answered_is_not_refused_either, RateFixture) {
    config.handler.kind = conf::HandlerKind::discard;
    install();
    const Ends e = client();
    asks(e, frame(1) + frame(2) + frame(3) + control(ControlType::ping), control(ControlType::pong));
    BOOST_TEST(session(e).messages == 3u);
}

BOOST_FIXTURE_TEST_CASE(a_framing_without_errors_holds_its_client_back, LineRateFixture) {
    const Ends e = client();
    BOOST_TEST(ask(e, "1\n2\n") == "1\n2\n");
    BOOST_TEST(ask(e, "3\n") == "");
    pass(400ms);
    BOOST_TEST(read_now(e.client.get()) == "");
    succeed();
    pass(200ms);
    BOOST_TEST(read_now(e.client.get()) == "3\n");
}

// Those that came with the last one that was in time wait, whatever happens meanwhile.
BOOST_FIXTURE_TEST_CASE(what_comes_at_once_is_held_back_as_well, LineRateFixture) {
    const Ends e = client();
    BOOST_TEST(ask(e, "1\n2\n3\n4\n5\nno end") == "1\n2\n");
    BOOST_TEST(ask(e, "\n6\n") == "");
    ::shutdown(e.client.get(), SHUT_WR);
    pass(50ms);
    for (const char* line : {"3\n", "4\n", "5\n", "no end\n", "6\n"}) {
        pass(350ms);
        BOOST_TEST(read_now(e.client.get()) == "");
        succeed();
        pass(150ms);
        BOOST_TEST(read_now(e.client.get()) == line);
    }
    pass(600ms);
    BOOST_TEST(read_now(e.client.get()) == "EOF");
    BOOST_TEST(!at(e.server));
    BOOST_TEST(closed(slot::CloseReason::finished) == 1u);
    check_no_chunk_is_left();
}

BOOST_FIXTURE_TEST_CASE(a_reload_to_a_faster_rate_ends_the_wait_for_a_slower_one, LineRateFixture) {
    config.limits.message_rate = {1, 1h};
    install();
    const Ends e = client();
    BOOST_TEST(ask(e, "1\n2\n3\n") == "1\n");
    pass(1s);
    config.limits.message_rate = {10, 1s};
    succeed();
    pass(150ms);
    BOOST_TEST(read_now(e.client.get()) == "2\n");
    pass(150ms);
    BOOST_TEST(read_now(e.client.get()) == "3\n");
}

// 60 KB of them in one read; over the budget of memory they are served at once, and paid for by waiting.
BOOST_FIXTURE_TEST_CASE(a_burst_is_held_back_where_there_is_memory, LineRateFixture) {
    const std::string burst(60'000, '\n');
    const Ends e = client(), poor = client();
    BOOST_TEST(ask(e, burst) == "\n\n");
    pass(5200ms);
    BOOST_TEST(read_now(e.client.get()).size() == 10u);
    worker->connections.chunks().set_budgets(1, 0);
    (void)ask(poor, std::string(100, '\n'));
    BOOST_TEST(session(poor).messages == 100u);
    (void)ask(poor, "\n");
    BOOST_TEST(session(poor).messages == 100u);
}

// It is paid for when it begins, and read to its end all the same.
BOOST_FIXTURE_TEST_CASE(a_long_frame_is_not_held_back_in_its_middle, LineRateFixture) {
    const Ends e = client();
    const std::string line = std::string(100'000, 'x') + "\n";
    asks_in_pieces(e, "1\n" + line);
    BOOST_TEST(ask(e, "3\n") == "");
    pass(600ms);
    BOOST_TEST((read_now(e.client.get()) == "3\n"));
    config.handler.kind = conf::HandlerKind::discard;
    install();
    pass(2s);
    (void)ask(e, "4\n" + line.substr(0, 50'000));
    (void)ask(e, line.substr(50'000));
    (void)ask(e, "6\n");
    BOOST_TEST(session(e).messages == 5u);
    BOOST_TEST(!session_is_inside_frame(e));
    pass(600ms);
    BOOST_TEST(session(e).messages == 6u);
}

BOOST_FIXTURE_TEST_CASE(over_its_budget_a_worker_begins_nothing_and_goes_on_with_the_rest, FramedFixture) {
    const Ends idle = client(), half = client(), fresh = client(), holder = client();
    const std::string message = frame(1, std::string(3000, 'x'));
    for (const Ends* one : {&half, &holder}) asks(*one, message.substr(0, 2000), "");
    worker->connections.chunks().set_budgets(1, 0);
    const std::string no = error(FrameError::unavailable, "no memory for a message that comes in parts");
    asks(fresh, message.substr(0, 2000), no);
    asks(fresh, message.substr(2000) + frame(2), frame(2));
    asks(half, message.substr(2000), message);
    asks(idle, frame(3), frame(3));
    // A header is waited for.
    asks(fresh, message.substr(0, 5), "");
    asks(fresh, message.substr(5, 100), no);
    asks(fresh, message.substr(105) + frame(4), frame(4));
    // What was begun, but needs a larger chunk by now.
    const std::string longer = frame(1, std::string(9000, 'y'));
    worker->connections.chunks().set_budgets(0, 0);
    asks(half, longer.substr(0, 4000), "");
    worker->connections.chunks().set_budgets(1, 0);
    asks(half, longer.substr(4000, 1000), no);
    asks(half, longer.substr(5000) + frame(5), frame(5));
    BOOST_TEST(closed(slot::CloseReason::shed) == 0u);
}

// Such a framing can't say that there is no memory.
BOOST_FIXTURE_TEST_CASE(over_its_budget_a_worker_does_not_read_on_where_it_can_not_refuse, LineFixture) {
    const Ends e = client(), holder = client();
    asks(holder, std::string(3000, 'h'), "");
    worker->connections.chunks().set_budgets(1, 0);
    BOOST_TEST(ask(e, "whole\npart") == "whole\n");
    BOOST_TEST(ask(e, " of a line\n") == "");
    pass(1s);
    BOOST_TEST(read_now(e.client.get()) == "");
    succeed();
    worker->connections.chunks().set_budgets(1, 0);
    pass(1s);
    BOOST_TEST(read_now(e.client.get()) == "");
    worker->connections.chunks().set_budgets(0, 0);
    pass(1s);
    BOOST_TEST(read_now(e.client.get()) == "part of a line\n");
    BOOST_TEST(ask(holder, "\n") == std::string(3000, 'h') + "\n");
    check_no_chunk_is_left();
}

BOOST_FIXTURE_TEST_CASE(over_its_budget_a_worker_keeps_little_for_each_client, LineFixture) {
    std::vector<Ends> all;
    for (int i = 0; i < 20; ++i) all.push_back(client());
    for (const Ends& e : all) BOOST_TEST(ask(e, std::string(100, 'x')) == "");
    worker->connections.chunks().set_budgets(1, 0);
    for (const Ends& e : all) BOOST_TEST(ask(e, std::string(50'000, 'x')) == "");
    BOOST_TEST(worker->connections.chunks().used_bytes() <= all.size() * slot::kSmallChunkBytes);
    worker->connections.chunks().set_budgets(0, 0);
    pass(1s);
    for (const Ends& e : all) BOOST_TEST((echo(e, "\n", 50'101) == std::string(50'100, 'x') + "\n"));
    check_no_chunk_is_left();
}

// One that is gathered and becomes whole with a read after which it is longer than a chunk.
BOOST_AUTO_TEST_CASE(a_frame_that_outgrows_its_chunk_with_its_last_read) {
    conf::Framing counted;
    counted.kind = conf::FramingKind::length;
    counted.length_bytes = 4;
    conf::Framing ended;
    ended.kind = conf::FramingKind::delimiter;
    ended.delimiter = "$";
    const auto text_of = [](const conf::Framing& framing, size_t payload, char c) -> std::string {
        const std::string text(payload, c);
        if (framing.kind == conf::FramingKind::tcpd) return frame(1, text);
        if (framing.kind == conf::FramingKind::line) return text + "\n";
        if (framing.kind == conf::FramingKind::delimiter) return text + "$";
        std::string all;
        for (int shift : {24, 16, 8, 0}) all += static_cast<char>(payload >> shift);
        return all + text;
    };
    for (const conf::Framing& framing :
         {*conf::find_built_in_framing("tcpd"), *conf::find_built_in_framing("line"), counted, ended}) {
        for (const size_t first : {size_t{1}, size_t{3}, size_t{10}, size_t{5000}, size_t{65'535}}) {
            for (const size_t payload : {size_t{65'524}, size_t{65'526}, size_t{65'532}, size_t{65'535},
                                         size_t{65'536}, size_t{65'540}, first + 65'000}) {
                LongFixture it(framing);
                const auto before = it.client(), one = it.client(), behind = it.client();
                const std::string other = text_of(framing, 60'000, 'o'), all = text_of(framing, payload, 'x');
                BOOST_TEST(it.ask(before, other.substr(0, 50'000)) == "");
                const size_t early = std::min(first, all.size() - 1);
                BOOST_TEST_CONTEXT(static_cast<int>(framing.kind) << ": " << early << " of " << all.size()) {
                    std::string echoed = it.ask(one, all.substr(0, early));
                    BOOST_TEST(it.ask(behind, other.substr(0, 50'000)) == "");
                    // The chunk that is free now, and taken next, lies before that of another client.
                    BOOST_TEST((it.echo(before, other.substr(50'000), other.size()) == other));
                    echoed += it.echo(one, all.substr(early), all.size() - echoed.size());
                    BOOST_TEST((echoed == all));
                    BOOST_TEST((it.echo(behind, other.substr(50'000), other.size()) == other));
                    it.check_no_chunk_is_left();
                }
            }
        }
    }
}

BOOST_FIXTURE_TEST_CASE(a_drain_says_goodbye_over_its_first_half_and_ends_with_the_grace, FramedFixture) {
    std::vector<Ends> all;
    for (int i = 0; i < 20; ++i) all.push_back(client());
    worker->connections.begin_drain(now_ns, now_ns + to_ns(20s), true);
    size_t early = 0, told = 0;
    for (int half = 0; half < 2; ++half) {
        pass(5s);
        for (const Ends& e : all) {
            const std::string heard = read_now(e.client.get());
            if (heard.empty()) continue;
            BOOST_TEST(heard.substr(5, 2) == "\xF0\x06");
            half == 0 ? ++early : ++told;
        }
    }
    told += early;
    BOOST_TEST(told == 20u);
    BOOST_TEST((early > 3 && early < 17));
    asks(all[0], frame(1), frame(1));
    pass(8500ms);
    asks(all[0], frame(1), frame(1));
    pass(2s);
    for (const Ends& e : all) BOOST_TEST(!at(e.server));
    BOOST_TEST(closed(slot::CloseReason::drained) == 20u);
}

// Long ones one after the other, without a pause that a tick could fall into.
BOOST_FIXTURE_TEST_CASE(goodbye_comes_between_two_frames_that_are_echoed, FramedFixture) {
    const Ends e = client();
    const std::string one = frame(7, std::string(80'000, 'x'));
    const size_t half = one.size() - 10'000;
    const auto echoes = [&](const std::string& sent) {
        std::string echo;
        for (size_t at = 0; at < sent.size(); at += 20'000) echo += ask(e, sent.substr(at, 20'000));
        return echo;
    };
    BOOST_TEST((echoes(one.substr(0, half)) == one.substr(0, half)));
    worker->connections.begin_drain(now_ns, now_ns + to_ns(20s), false);
    pass(20ms);
    BOOST_TEST(read_now(e.client.get()) == "");
    BOOST_TEST(shown(one.substr(0, half) + echoes(one.substr(half) + one)) == "7:80000 61446:46 7:80000 ");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
