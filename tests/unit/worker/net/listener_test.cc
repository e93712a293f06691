#include "worker/net/listener.h"

#include <ev.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>

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
        BOOST_REQUIRE(::listen(fd.get(), 200) == 0);
        return fd;
    }
    uint16_t port() const {
        sockaddr_storage own;
        socklen_t length = sizeof own;
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &length);
        return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&own), length).port();
    }
    // So many wait in the kernel, not accepted.
    std::vector<UniqueFd> queue(uint32_t count) {
        std::vector<UniqueFd> clients;
        tcp_info info{};
        socklen_t length = sizeof info;
        ::getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &length);
        const uint32_t want = info.tcpi_unacked + count;
        for (uint32_t i = 0; i < count; ++i) {
            clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            address.sin_port = htons(port());
            BOOST_REQUIRE(
                ::connect(clients.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        }
        for (int tries = 0; info.tcpi_unacked != want && tries < 10'000; ++tries) {
            ::poll(nullptr, 0, 2);  // for the last steps of the handshakes
            ::getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &length);
        }
        BOOST_REQUIRE(info.tcpi_unacked == want);
        return clients;
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
        // On a busy machine the kernel may take its time for the last step of the handshake.
        pollfd waiting{socket.get(), POLLIN, 0};
        BOOST_REQUIRE(::poll(&waiting, 1, 20'000) == 1);
        listener->on_acceptable();
        return client;
    }
    std::vector<UniqueFd> connect_many(int count) {
        std::vector<UniqueFd> clients;
        for (int i = 0; i < count; ++i) clients.push_back(connect());
        return clients;
    }
    // A socket that slots 0 and 1 share, both in service.
    void share() {
        counts.in_service(0) = counts.in_service(1) = 1;
        listen(true);
    }
    // Until it listens again, and what it does then.
    void wait_out_pause() {
        ev_run(loop.loop, EVRUN_ONCE);
        listener->on_acceptable();
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

    Connection by_id(uint64_t id) {
        for (int fd = 1; fd < 1024; ++fd) {
            if (const Connection c = at(fd); c && c->id == id) return c;
        }
        return {};
    }
    // As an image that a reload brought has it.
    void limit_addresses(uint64_t limit) {
        connections_per_ip = limit;
        succeed_and_listen();
    }
    void succeed_and_listen() {
        listener.reset();
        succeed();
        listen(false);
    }
    uint64_t key_of(unsigned host) {
        const uint8_t address[16] = {127, 0, 0, static_cast<uint8_t>(host)};
        return worker->addresses.key_of(0, 4, address);
    }
    uint64_t held(unsigned host) { return worker->addresses.total(key_of(host), slot::kMaxSlots); }

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

BOOST_AUTO_TEST_CASE(who_has_more_than_its_share_lets_the_others_go_first) {
    share();
    counts.open(0, 1) = 40;
    const auto clients = connect_many(80);
    BOOST_TEST(open() == 73U);  // 17 more than half of both
    counts.open(0, 1) = 80;
    wait_out_pause();
    BOOST_TEST(open() == 80U);
}

BOOST_AUTO_TEST_CASE(a_small_difference_is_no_matter) {
    share();
    const auto clients = connect_many(33);
    BOOST_TEST(open() == 33U);
}

BOOST_AUTO_TEST_CASE(whom_the_others_took_is_not_waited_for) {
    share();
    const auto clients = connect_many(34);
    BOOST_TEST(open() == 33U);
    const UniqueFd taken(accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    BOOST_REQUIRE(taken);
    wait_out_pause();
    BOOST_TEST(open() == 33U);
}

BOOST_AUTO_TEST_CASE(whom_the_others_leave_is_taken_and_more_each_time) {
    share();
    const auto clients = connect_many(33 + 20);
    BOOST_TEST(open() == 33U);
    for (const uint64_t taken : {1U, 3U, 7U, 15U, 20U}) {
        wait_out_pause();
        BOOST_TEST(open() == 33U + taken);
    }
}

// Of slots that have ended, drain or wait there may be many.
BOOST_AUTO_TEST_CASE(who_accepts_nothing_is_no_measure) {
    share();
    counts.slots() = 200;
    counts.in_service(1) = 0;
    const auto clients = connect_many(100);
    BOOST_TEST(open() == 100U);
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

BOOST_AUTO_TEST_CASE(each_address_has_its_places) {
    limit_addresses(2);
    const UniqueFd one = connect(1), two = connect(1);
    const uint64_t first_id = newest()->id;
    const UniqueFd other = connect(2), third = connect(1);
    BOOST_TEST(open() == 3U);
    BOOST_TEST(refused(slot::RefuseReason::per_ip) == 1U);
    BOOST_TEST(held(1) == 2U);
    BOOST_TEST(held(2) == 1U);
    worker->connections.end(by_id(first_id), slot::CloseReason::idle);
    BOOST_TEST(held(1) == 1U);
    const UniqueFd fourth = connect(1), fifth = connect(1);
    BOOST_TEST(open() == 3U);
    BOOST_TEST(refused(slot::RefuseReason::per_ip) == 2U);
}

BOOST_AUTO_TEST_CASE(an_address_has_its_places_in_all_slots_together) {
    limit_addresses(2);
    auto other_slot = slot::AddressCounts::map(addresses_fd.get());
    BOOST_REQUIRE(other_slot);
    other_slot->begin_table(1, 0);
    other_slot->publish_table();
    other_slot->add(key_of(1));
    const UniqueFd one = connect(1), two = connect(1), three = connect(2);
    BOOST_TEST(open() == 2U);
    BOOST_TEST(refused(slot::RefuseReason::per_ip) == 1U);
}

BOOST_AUTO_TEST_CASE(who_is_refused_has_taken_no_place_of_any_limit) {
    limit_addresses(1);
    rules().connections = 3;
    rules().accept_rate = RateLimit(2, 60'000'000'000);
    const UniqueFd one = connect(1), again = connect(1);
    BOOST_TEST(refused(slot::RefuseReason::per_ip) == 1U);
    BOOST_TEST(counts.open(0, 0).load() == 1U);
    BOOST_TEST(held(1) == 1U);
    const UniqueFd two = connect(2), three = connect(3);
    BOOST_TEST(refused(slot::RefuseReason::rate) == 1U);
    BOOST_TEST(counts.open(0, 0).load() == 2U);
    BOOST_TEST(held(3) == 0U);
    rules().accept_rate = {};
    const UniqueFd four = connect(4), five = connect(5);
    BOOST_TEST(refused(slot::RefuseReason::connections) == 1U);
    BOOST_TEST(held(5) == 0U);
}

// What a predecessor accepted at the listener's address is the listener's; what else is connected is nobody's.
BOOST_AUTO_TEST_CASE(only_what_was_accepted_at_its_address_is_a_stray) {
    worker->listeners.push_back(std::move(listener));
    const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port());
    BOOST_REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const int accepted = ::accept4(socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const Ends other = connect_over_loopback();
    memory.worker_control().high_fd.store(static_cast<uint32_t>(other.server) + 1);
    memory.journal().word.store(slot::JournalWord{slot::Phase::accepting, 0}.pack());
    worker->connections.numbers().set_own({socket.get()});
    worker->adopt();
    BOOST_TEST(bool(at(accepted)));
    BOOST_TEST(!at(other.server));
    BOOST_TEST(!at(other.client.get()));
    write_all(other.client.get(), "still open");
    BOOST_TEST(read_now(other.server) == "still open");
    ::close(other.server);
    worker->listeners.clear();
}

BOOST_AUTO_TEST_CASE(a_stray_is_let_in_and_counted) {
    limit_addresses(1);
    const UniqueFd one = connect(1);
    Ends stray = connect_over_loopback();
    listener->adopt_stray(stray.server);
    BOOST_TEST(open() == 2U);
    BOOST_TEST(held(1) == 2U);
    worker->connections.end(at(stray.server), slot::CloseReason::idle);
    BOOST_TEST(held(1) == 1U);
}

BOOST_AUTO_TEST_CASE(without_the_limit_nobody_is_counted) {
    const UniqueFd one = connect(1);
    BOOST_TEST(held(1) == 0U);
    worker->connections.end(newest(), slot::CloseReason::idle);
    BOOST_TEST(open() == 0U);
}

BOOST_AUTO_TEST_CASE(a_successor_counts_the_addresses_anew) {
    limit_addresses(3);
    const UniqueFd one = connect(1), two = connect(1), other = connect(2);
    worker->addresses.add(key_of(1));  // it died before it had the record
    worker->addresses.remove(key_of(2));
    succeed_and_listen();
    BOOST_TEST(held(1) == 2U);
    BOOST_TEST(held(2) == 1U);
    const UniqueFd three = connect(1), four = connect(1);
    BOOST_TEST(refused(slot::RefuseReason::per_ip) == 1U);
}

BOOST_AUTO_TEST_CASE(a_reload_that_sets_or_lifts_the_limit_finds_who_is_there) {
    const UniqueFd one = connect(1), two = connect(1);
    limit_addresses(2);
    BOOST_TEST(held(1) == 2U);
    const UniqueFd three = connect(1);
    BOOST_TEST(refused(slot::RefuseReason::per_ip) == 1U);
    limit_addresses(0);
    BOOST_TEST(held(1) == 0U);
    const UniqueFd four = connect(1);
    BOOST_TEST(open() == 3U);
    limit_addresses(2);
    BOOST_TEST(held(1) == 3U);
}

// Its end takes off what it was counted under, however wrong.
BOOST_AUTO_TEST_CASE(a_record_that_is_not_to_be_trusted_leaves_no_count) {
    limit_addresses(5);
    const UniqueFd one = connect(1), two = connect(1);
    newest()->out = 1;
    succeed_and_listen();
    BOOST_TEST(open() == 1U);
    BOOST_TEST(held(1) == 1U);
}

BOOST_AUTO_TEST_CASE(who_leaves_takes_whoever_waited_by_then_in_batches_and_nobody_else) {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const auto waiting = queue(70);
    listener->begin_to_leave();
    const auto late = queue(2);
    BOOST_TEST(!listener->take_rest(null.get()));
    BOOST_TEST(open() == 64u);
    listener->on_acceptable();
    listener->start();
    listener->on_acceptable();
    BOOST_TEST(open() == 64u);
    BOOST_TEST(listener->take_rest(null.get()));
    BOOST_TEST(open() == 70u);
    BOOST_TEST(!listener->is_leaving());
    BOOST_TEST(listener->take_rest(null.get()));
    BOOST_TEST(open() == 70u);
}

BOOST_AUTO_TEST_CASE(all_that_is_open_ends_in_slices_that_follow_each_other) {
    const auto clients = connect_many(20);
    int next = 0;
    for (const uint64_t left : {12, 4}) {
        BOOST_TEST(!worker->connections.end_some(slot::CloseReason::stopped, &next, 0));
        BOOST_TEST(open() == left);
    }
    BOOST_TEST(worker->connections.end_some(slot::CloseReason::stopped, &next, 0));
    BOOST_TEST(open() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
