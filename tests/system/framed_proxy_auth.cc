// Clients of a framed proxy that authenticate: none costs its upstream anything before that is done, and what
// they sent meanwhile comes behind AUTH_OK, whoever serves them by then. The test plays the upstream.

#include <boost/test/unit_test.hpp>
#include <map>
#include <thread>

#include "tests/support/proxied_frames.h"

using namespace tcpd;
using namespace tcpd::test;
using worker::ControlType;
using worker::FrameError;

namespace {

const std::string kAuth = frame_bytes(ControlType::auth, credential(kToken));

struct Known {
    TempDir folder;
    PlayedUpstream upstream;
    TestDaemon daemon;
    Address address;
    explicit Known(bool shut = false, const std::string& more = "")
        : upstream(shut),
          daemon(proxy_config(upstream.text(),
                              ", auth: {methods: [token], tokens: " + folder.write("tokens", kTokens) + "}",
                              more)),
          address(daemon.address("it")) {}
    FramedClient client() const { return FramedClient(address); }
};

Frame named(const std::string& text) { return {kType, text}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(framed_proxy_auth)

BOOST_AUTO_TEST_CASE(nobody_unknown_reaches_the_upstream) {
    Known it;
    FramedClient wrong = it.client(), silent = it.client(), early = it.client(), leaving = it.client();
    early.send(bytes_of(frames(10)));
    early.expect_last_error(FrameError::unauthorized);
    wrong.send_frame(ControlType::auth, credential("guessed"));
    wrong.expect_last_error(FrameError::unauthorized);
    leaving.send_frame(ControlType::close);
    leaving.expect_end();

    // The first that the upstream sees is this one's.
    FramedClient client = it.client();
    client.send(kAuth.substr(0, 20));
    const std::vector<Frame> behind = frames(50);
    client.send(kAuth.substr(20) + bytes_of(behind));
    FramedClient server = it.upstream.accept();
    BOOST_CHECK(client.receive_frame().is(ControlType::auth_ok));
    check_same(server, behind);
    server.send_frame(kType, "reply");
    BOOST_CHECK_EQUAL(client.receive_frame(), (Frame{kType, "reply"}));
    silent.authenticate(kToken);
    BOOST_CHECK(!it.upstream.accept().has_input());
}

BOOST_AUTO_TEST_CASE(what_came_behind_auth_waits_for_the_upstream) {
    for (const bool changes_hands : {false, true}) {
        Known it(true);
        FramedClient alone = it.client(), busy = it.client(), ended = it.client(), gone = it.client();
        std::vector<Frame> behind = frames(150);
        behind.push_back({kType, payload_of(3000)});
        const std::string bytes = bytes_of(behind);
        alone.send(kAuth);
        busy.send(kAuth + bytes_of({named("busy")}) + bytes.substr(0, bytes.size() - 1500));
        ended.send(kAuth + bytes_of({named("ended")}));
        ended.end_output();
        gone.send(kAuth + bytes_of({named("gone")}));
        gone.reset();
        wait_for("the reset to be seen", [&] { return it.daemon.count("it", "closed peer_reset") == 1; });
        if (changes_hands) it.daemon.change_hands();
        for (FramedClient* one : {&alone, &busy, &ended}) BOOST_CHECK(!one->has_input());

        it.upstream.open();
        std::map<std::string, FramedClient> servers;
        alone.send(bytes_of({named("alone")}));
        for (int i = 0; i < 3; ++i) {
            FramedClient server = it.upstream.accept();
            const std::string name = server.receive_frame().payload;
            servers.emplace(name, std::move(server));
        }
        for (FramedClient* one : {&alone, &busy, &ended}) {
            BOOST_CHECK(one->receive_frame().is(ControlType::auth_ok));
        }
        busy.send(bytes.substr(bytes.size() - 1500));
        check_same(servers.at("busy"), behind);
        servers.at("ended").expect_end();
        for (auto& [name, server] : servers) {
            server.send_frame(kType, "to " + name);
            server.close();
        }
        BOOST_CHECK_EQUAL(alone.receive_frame(), named("to alone"));
        BOOST_CHECK_EQUAL(busy.receive_frame(), named("to busy"));
        BOOST_CHECK_EQUAL(ended.receive_frame(), named("to ended"));
        ended.expect_end();
        it.daemon.check_nothing_lost();
    }
}

// More than the one read that AUTH came with.
BOOST_AUTO_TEST_CASE(much_behind_auth) {
    Known it(true);
    FramedClient client = it.client();
    const std::vector<Frame> behind = frames(3000);
    const std::jthread sender([&] { client.send(kAuth + bytes_of(behind)); });
    it.upstream.open();
    FramedClient server = it.upstream.accept();
    BOOST_CHECK(client.receive_frame().is(ControlType::auth_ok));
    check_same(server, behind);
}

BOOST_AUTO_TEST_CASE(no_upstream) {
    Known it;
    it.upstream = PlayedUpstream();
    FramedClient client = it.client();
    client.send(kAuth + bytes_of(frames(20)));
    client.expect_last_error(FrameError::unavailable);
}

// What waits takes a small chunk where that will do, and none beyond the budget.
BOOST_AUTO_TEST_CASE(waiting_within_the_budget_of_memory) {
    Known it(true, "memory: {worker: 1MiB}\n");
    constexpr size_t kClients = 60, kRoom = 1024 / 64 + 1;
    const auto shed = [&] { return it.daemon.count("it", "closed shed"); };
    for (const size_t bytes : {size_t{100}, size_t{9000}}) {
        std::vector<FramedClient> clients;
        for (size_t i = 0; i < kClients; ++i) {
            clients.push_back(it.client());
            clients.back().send(kAuth + frame_bytes(kType, payload_of(bytes)));
        }
        if (bytes > 4096) wait_for("the rest to be refused", [&] { return shed() >= kClients - kRoom; });
        for (FramedClient& one : clients) one.reset();
        wait_for("their ends", [&] { return it.daemon.count("it", "open") == 0; });
        BOOST_CHECK_LE(shed(), bytes > 4096 ? kClients - 10 : 0);
    }
}

// It ends with the drain, whether it was served or not.
BOOST_AUTO_TEST_CASE(a_drain_while_it_waits) {
    Known it(true, "drain: {stop: 1s, spread: false}\n");
    FramedClient client = it.client();
    client.send(kAuth + bytes_of(frames(20)));
    it.daemon.send(SIGTERM);
    BOOST_CHECK(client.wait_end() != Ending::timed_out);
    it.daemon.wait_exit();
}

BOOST_AUTO_TEST_SUITE_END()
