// Framed listeners without processes: what is due when, by a clock of our own; what a successor makes of it.

#include "tests/unit/worker/handler/framed_fixture.h"

namespace tcpd::worker {

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

struct LongTokenFixture : FramedFixture {
    LongTokenFixture() : FramedFixture(listener()) {}
    static std::string auth() { return control(ControlType::auth, "\x01" + std::string(4095, 's')); }
    static conf::Listener listener() {
        conf::Listener one = AuthFixture::listener();
        const std::string token(4095, 's');
        SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(),
               one.auth.tokens[0].sha256.data());
        return one;
    }
    uint64_t used() { return worker->connections.chunks().used_bytes(); }
};

BOOST_FIXTURE_TEST_CASE(who_has_not_said_who_he_is_costs_a_small_chunk_at_most, LongTokenFixture) {
    for (const size_t first : {1, 10, 11, 12, 2000, 4096, 4097, 4106}) {
        for (const size_t second : {size_t{1}, size_t{4090}, auth().size()}) {
            const Ends e = client();
            const size_t end = std::min(first + second, auth().size() - 1);
            asks(e, auth().substr(0, first), "");
            BOOST_TEST(used() <= slot::kSmallChunkBytes);
            succeed();
            asks(e, auth().substr(first, end - first), "");
            BOOST_TEST(used() <= slot::kSmallChunkBytes);
            succeed();
            const std::string id(reinterpret_cast<const char*>(session(e).id), sizeof session(e).id);
            asks(e, auth().substr(end) + frame(7, "hello"),
                 control(ControlType::auth_ok, id) + frame(7, "hello"));
            worker->connections.end(at(e.server), slot::CloseReason::stopped);
            check_no_chunk_is_left();
        }
    }
}

BOOST_FIXTURE_TEST_CASE(who_begins_with_another_control_frame_is_refused_before_it_is_whole, AuthFixture) {
    const Ends e = client();
    asks(e, control(ControlType::ping, std::string(4096, 'x')).substr(0, 4105),
         error(FrameError::unauthorized, "authentication comes first"));
    BOOST_TEST(worker->connections.chunks().used_bytes() == 0u);
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

BOOST_FIXTURE_TEST_CASE(a_drain_says_goodbye_over_its_first_half_and_ends_with_the_grace, FramedFixture) {
    std::vector<Ends> all;
    for (int i = 0; i < 20; ++i) all.push_back(client());
    worker->connections.begin_drain(now_ns, now_ns + to_ns(20s), true);
    BOOST_REQUIRE(worker->connections.arm_some(~uint64_t{0}));
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
    BOOST_REQUIRE(worker->connections.arm_some(~uint64_t{0}));
    pass(20ms);
    BOOST_TEST(read_now(e.client.get()) == "");
    BOOST_TEST(shown(one.substr(0, half) + echoes(one.substr(half) + one)) == "7:80000 61446:46 7:80000 ");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
