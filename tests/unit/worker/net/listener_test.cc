#include "worker/net/listener.h"

#include <ev.h>

#include "tests/unit/worker/slot_fixture.h"

namespace tcpd::worker {

namespace {

struct Loop {
    ~Loop() { ev_loop_destroy(loop); }
    struct ev_loop* loop = ev_loop_new(EVFLAG_NOENV);
};

// A listening socket of the echo listener, in a slot without processes.
struct ListenerFixture : SlotFixture {
    ListenerFixture() : socket(listen_on(AF_INET)) { listen(false); }
    ~ListenerFixture() { listener.reset(); }

    Rules& rules() { return worker->rules[0]; }
    void listen(bool is_shared) {
        const ListenerPlace place{socket.get(), false, is_shared, 0, 2, 1024};
        listener = std::make_unique<Listener>(loop.loop, worker->connections, counts, rules(), place);
        listener->start();
    }
    static UniqueFd listen_on(int family) {
        UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_storage any{};
        any.ss_family = static_cast<sa_family_t>(family);
        BOOST_REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&any),
                             family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) == 0);
        BOOST_REQUIRE(::listen(fd.get(), 64) == 0);
        return fd;
    }
    uint16_t port() const {
        sockaddr_storage own;
        socklen_t length = sizeof own;
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &length);
        return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&own), length).port();
    }
    // From 127.0.0.`host`, and accepted or not.
    UniqueFd connect(unsigned host = 1) {
        UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(0x7F000000 + host);
        BOOST_REQUIRE(::bind(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port());
        BOOST_REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        listener->on_acceptable();
        return client;
    }
    uint64_t refused(slot::RefuseReason reason) const {
        return worker->rules[0].counters->refused[static_cast<size_t>(reason)];
    }
    uint64_t open() const { return worker->rules[0].counters->open; }
    int32_t steered() { return static_cast<int32_t>(counts.steered(0).load()); }
    // The fresh one is the only connection there is, or the last one.
    Connection newest() {
        Connection found;
        for (int fd = 1; fd < 1024; ++fd) {
            const Connection c = at(fd);
            if (c && (!found || c->id > found->id)) found = c;
        }
        return found;
    }

    Loop loop;
    UniqueFd socket;
    std::unique_ptr<Listener> listener;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(listener, ListenerFixture)

BOOST_AUTO_TEST_CASE(what_is_refused_is_no_longer_steered_here) {
    counts.steered(0) = 2;  // as whoever steers has it
    rules().connections = 1;
    const UniqueFd one = connect(), other = connect();
    BOOST_TEST(open() == 1U);
    BOOST_TEST(refused(slot::RefuseReason::connections) == 1U);
    BOOST_TEST(steered() == 1);
    worker->connections.end(newest(), slot::CloseReason::idle);
    BOOST_TEST(steered() == 0);
}

BOOST_AUTO_TEST_CASE(where_nobody_steers_the_count_is_right_all_the_same) {
    listen(true);
    rules().connections = 1;
    const UniqueFd one = connect(), other = connect();
    BOOST_TEST(open() == 1U);
    BOOST_TEST(refused(slot::RefuseReason::connections) == 1U);
    BOOST_TEST(steered() == 1);
    worker->connections.end(newest(), slot::CloseReason::idle);
    BOOST_TEST(steered() == 0);
}

BOOST_AUTO_TEST_CASE(the_rate_of_accepting_holds_over_all_slots) {
    rules().accept_rate = RateLimit(3, 60'000'000'000);
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 5; ++i) clients.push_back(connect());
    BOOST_TEST(open() == 3U);
    BOOST_TEST(refused(slot::RefuseReason::rate) == 2U);
    worker->connections.set_now(worker->connections.now_ns() + 20'000'000'000);
    BOOST_TEST(
        rules().accept_rate.admit(counts.accept_due(0), worker->connections.now_ns()));  // another slot
    clients.push_back(connect());
    BOOST_TEST(open() == 3U);
    worker->connections.set_now(worker->connections.now_ns() + 20'000'000'000);
    clients.push_back(connect());
    BOOST_TEST(open() == 4U);
}

BOOST_AUTO_TEST_CASE(a_refusal_by_the_rate_takes_no_place) {
    rules().connections = 2;
    rules().accept_rate = RateLimit(1, 60'000'000'000);
    const UniqueFd one = connect(), other = connect();
    BOOST_TEST(open() == 1U);
    BOOST_TEST(refused(slot::RefuseReason::rate) == 1U);
    BOOST_TEST(counts.open(0, 0).load() == 1U);
}

BOOST_AUTO_TEST_CASE(a_refusal_by_another_limit_costs_none_of_the_rate) {
    rules().connections = 1;
    rules().accept_rate = RateLimit(2, 60'000'000'000);
    const UniqueFd one = connect(), other = connect();
    BOOST_TEST(refused(slot::RefuseReason::connections) == 1U);
    worker->connections.end(newest(), slot::CloseReason::idle);
    const UniqueFd third = connect();
    BOOST_TEST(open() == 1U);
    BOOST_TEST(refused(slot::RefuseReason::rate) == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
