// Framed listeners without processes: rates, budgets of memory, and frames longer than a chunk.

#include "tests/unit/worker/handler/framed_fixture.h"

namespace tcpd::worker {

namespace {

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

BOOST_AUTO_TEST_SUITE(worker_framed_limits)

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

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
