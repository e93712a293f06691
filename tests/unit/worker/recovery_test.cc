#include "worker/recovery.h"

#include <fcntl.h>

#include "tests/unit/worker/slot_fixture.h"

namespace tcpd::worker {

using slot::JournalWord;
using slot::Phase;
using slot::State;

namespace {

// Puts the journal where a worker was when it died with `c` in hand.
struct Death {
    SlotFixture& f;
    Connection c;
    slot::JournalPage& page = f.memory.journal();
    char* buffer = nullptr;

    Death(SlotFixture& fixture, Connection connection) : f(fixture), c(connection) {
        BOOST_REQUIRE(f.worker->connections.have_receive_chunk());
        buffer = f.worker->connections.chunks().data(static_cast<slot::ChunkId>(page.receive_chunk));
        page.buffer_at = f.memory.offset_of(buffer);
        page.buffer_bytes = slot::kLargeChunkBytes;
        f.worker->connections.take_in_hand(c);
    }
    // The redo log that was begun before a send, for a step that consumes `bytes`.
    uint32_t begin_step(uint32_t received, uint32_t consumed) {
        page.received_bytes = received;
        page.send_at = page.buffer_at;
        page.send_bytes = consumed;
        page.redo[0] = {f.memory.offset_of(&c->received), consumed};
        page.redo[1] = {f.memory.offset_of(&page.handled_bytes), consumed};
        return consumed == received ? 1 : 2;
    }
    void in(Phase phase, uint32_t count = 0) {
        if (phase == Phase::received) page.received_bytes = count;
        page.word.store(JournalWord{phase, count}.pack());
    }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(worker_recovery, SlotFixture)

// Whatever a record says: what every image has, and what listens, is closed by nobody.
BOOST_AUTO_TEST_CASE(no_record_makes_a_connection_of_another_descriptor) {
    Ends e = echo_client();
    const int own = ::fcntl(0, F_DUPFD_CLOEXEC, e.server + 1);
    for (const int fd : {7, own}) memory.records()[fd] = memory.records()[e.server];
    memory.worker_control().high_fd.store(static_cast<uint32_t>(own) + 1);
    worker = seat();
    worker->connections.numbers().set_own({own});
    worker->adopt();
    BOOST_TEST(!at(7));
    BOOST_TEST(!at(own));
    BOOST_TEST(::fcntl(7, F_GETFD) != -1);
    BOOST_TEST(::fcntl(own, F_GETFD) != -1);
    BOOST_TEST(bool(at(e.server)));
    BOOST_TEST(memory.counters_of(0).open == 1u);
    ::close(own);
}

BOOST_AUTO_TEST_CASE(an_idle_connection_goes_on) {
    Ends e = echo_client();
    succeed();
    write_all(e.client.get(), "hello");
    worker->turn();
    BOOST_TEST(read_now(e.client.get()) == "hello");
    BOOST_TEST(memory.counters_of(0).adopted[0] == 1u);
    BOOST_TEST(memory.counters_of(0).open == 1u);
}

BOOST_AUTO_TEST_CASE(died_before_recv_or_after_it_not_one_byte_is_missing) {
    for (const bool received : {false, true}) {
        Ends e = echo_client();
        write_all(e.client.get(), "hello");
        Death death(*this, at(e.server));
        death.in(Phase::receiving);
        if (received) BOOST_REQUIRE(recv(e.server, death.buffer, 65536, 0) == 5);
        succeed();
        worker->turn();
        BOOST_TEST(read_now(e.client.get()) == "hello");
        BOOST_TEST(at(e.server)->received == 5u);
        BOOST_TEST(at(e.server)->sent == 5u);
    }
    BOOST_TEST(lost() == 0u);
}

BOOST_AUTO_TEST_CASE(died_before_send_or_after_part_of_it_nothing_is_doubled) {
    for (const int sent : {0, 2, 5}) {
        Ends e = echo_client();
        write_all(e.client.get(), "hello");
        Death death(*this, at(e.server));
        BOOST_REQUIRE(recv(e.server, death.buffer, 65536, 0) == 5);
        death.in(Phase::sending, death.begin_step(5, 5));
        if (sent != 0) BOOST_REQUIRE(send(e.server, death.buffer, static_cast<size_t>(sent), 0) == sent);
        succeed();
        worker->turn();
        std::string all = read_now(e.client.get());
        all += read_now(e.client.get());
        BOOST_TEST(all == "hello");
        BOOST_TEST(at(e.server)->sent == 5u);
        BOOST_TEST(!at(e.server).has_output());
    }
}

BOOST_AUTO_TEST_CASE(died_in_the_first_of_several_steps_the_others_follow) {
    for (const int sent : {0, 1, 2}) {
        Ends e = echo_client();
        write_all(e.client.get(), "hello");
        Death death(*this, at(e.server));
        BOOST_REQUIRE(recv(e.server, death.buffer, 65536, 0) == 5);
        death.in(Phase::sending, death.begin_step(5, 2));
        if (sent != 0) BOOST_REQUIRE(send(e.server, death.buffer, static_cast<size_t>(sent), 0) == sent);
        succeed();
        worker->turn();
        std::string all = read_now(e.client.get());
        all += read_now(e.client.get());
        BOOST_TEST(all == "hello");
        BOOST_TEST(at(e.server)->received == 5u);
        BOOST_TEST(at(e.server)->sent == 5u);
    }
}

BOOST_AUTO_TEST_CASE(died_between_two_steps_the_rest_is_handled) {
    Ends e = echo_client();
    write_all(e.client.get(), "hello");
    Death death(*this, at(e.server));
    BOOST_REQUIRE(recv(e.server, death.buffer, 65536, 0) == 5);
    BOOST_REQUIRE(send(e.server, death.buffer, 2, 0) == 2);
    at(e.server)->received = at(e.server)->sent = death.page.handled_bytes = 2;
    death.page.received_bytes = 5;
    death.in(Phase::received, 5);
    succeed();
    worker->turn();
    BOOST_TEST(read_now(e.client.get()) == "hello");
    BOOST_TEST(at(e.server)->received == 5u);
}

BOOST_AUTO_TEST_CASE(an_urgent_byte_and_an_end_of_input_do_not_falsify_the_books) {
    Ends e = echo_client();
    BOOST_REQUIRE(send(e.client.get(), "!", 1, MSG_OOB) == 1);
    write_all(e.client.get(), "hello");
    shutdown(e.client.get(), SHUT_WR);
    Death death(*this, at(e.server));
    death.in(Phase::receiving);
    BOOST_REQUIRE(recv(e.server, death.buffer, 3, 0) > 0);  // stops at the mark
    succeed();
    worker->turn();
    std::string all;
    for (std::string part = read_now(e.client.get()); !part.empty() && part != "EOF";
         part = read_now(e.client.get()))
        all += part;
    BOOST_TEST(all == "!hello");
    BOOST_TEST(memory.counters_of(0).closed[static_cast<size_t>(slot::CloseReason::finished)] == 1u);
}

BOOST_AUTO_TEST_CASE(more_than_was_asked_for_is_not_believed) {
    Ends e = echo_client();
    Death death(*this, at(e.server));
    at(e.server)->received = 77;  // the kernel knows of none
    death.in(Phase::receiving);
    succeed();
    BOOST_TEST(!at(e.server));
    BOOST_TEST(lost() == 1u);
    BOOST_TEST(read_now(e.client.get()) == "RST");
}

BOOST_AUTO_TEST_CASE(a_buffer_elsewhere_is_not_read) {
    for (const uint64_t at_offset : {uint64_t{0}, ~uint64_t{0} - 4, memory.bytes() - 1}) {
        Ends e = echo_client();
        Death death(*this, at(e.server));
        death.page.buffer_at = at_offset;
        death.in(Phase::received, 5);
        succeed();
        BOOST_TEST(!at(e.server));
    }
    Ends e = echo_client();
    Death death(*this, at(e.server));
    death.in(Phase::received, slot::kLargeChunkBytes + 1);
    succeed();
    BOOST_TEST(!at(e.server));
    BOOST_TEST(lost() == 4u);
}

BOOST_AUTO_TEST_CASE(an_untrusted_record_takes_nothing_from_the_connection_in_hand) {
    Ends bad = echo_client();
    Ends e = echo_client();
    write_all(e.client.get(), "hello");
    Death death(*this, at(e.server));
    BOOST_REQUIRE(recv(e.server, death.buffer, 65536, 0) == 5);
    death.in(Phase::received, 5);
    at(bad.server)->out = uint64_t{7} << 32 | 7;
    succeed();
    worker->turn();
    BOOST_TEST(!at(bad.server));
    BOOST_TEST(read_now(e.client.get()) == "hello");
    BOOST_TEST(lost() == 1u);
}

BOOST_AUTO_TEST_CASE(an_end_that_was_decided_is_carried_out) {
    Ends e = echo_client();
    slot::RecordWord word = at(e.server).word();
    word.state = State::doomed;
    word.reason = static_cast<uint8_t>(slot::CloseReason::idle);
    at(e.server)->word = word.pack();
    succeed();
    BOOST_TEST(!at(e.server));
    BOOST_TEST(read_now(e.client.get()) == "EOF");
    BOOST_TEST(memory.counters_of(0).closed[static_cast<size_t>(slot::CloseReason::idle)] == 1u);
    BOOST_TEST(memory.counters_of(0).open == 0u);
}

BOOST_AUTO_TEST_CASE(three_deaths_without_progress_end_the_connection_in_hand_alone) {
    Ends e = echo_client();
    Ends other = echo_client();
    Death death(*this, at(e.server));
    death.in(Phase::received, 5);
    for (int deaths = 0; deaths < 3; ++deaths) {  // each began and did not get through
        death.page.recovery_tries = deaths == 0 ? 0 : death.page.recovery_tries + 1;
        death.page.last_place = death.page.word.load();
    }
    death.page.recovery_tries = 3;
    succeed();
    BOOST_TEST(!at(e.server));
    BOOST_TEST(bool(at(other.server)));
    BOOST_TEST(memory.counters_of(0).closed[static_cast<size_t>(slot::CloseReason::stuck_recovery)] == 1u);
}

// As where what was received takes many steps, and a worker dies at each few.
BOOST_AUTO_TEST_CASE(deaths_that_each_came_further_end_nothing) {
    Ends e = echo_client();
    write_all(e.client.get(), "hello");
    Death death(*this, at(e.server));
    BOOST_REQUIRE(recv(e.server, death.buffer, 65536, 0) == 5);
    death.in(Phase::received, 5);
    death.page.last_place = death.page.word.load();
    death.page.recovery_tries = 3;
    death.page.handled_bytes = 2;
    at(e.server)->received = 2;
    succeed();
    BOOST_TEST(read_now(e.client.get()) == "llo");
    BOOST_TEST(lost() == 0u);
}

BOOST_AUTO_TEST_CASE(unsent_output_over_several_chunks_outlives_its_worker) {
    Ends e = echo_client();
    const int small = 4096;
    setsockopt(e.server, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    std::string sent;
    std::string got;
    for (int i = 0; got.size() < 3'000'000; ++i) {
        if (sent.size() < 3'000'000) {
            std::string part(30'000, static_cast<char>('a' + i % 26));
            const ssize_t n = send(e.client.get(), part.data(), part.size(), MSG_DONTWAIT);
            if (n > 0) sent.append(part, 0, static_cast<size_t>(n));
        }
        worker->turn();
        if (i % 3 == 0) succeed();
        if (i % 2 == 0) got += read_now(e.client.get());
        BOOST_REQUIRE(i < 100'000);
        if (got.size() == sent.size() && sent.size() >= 3'000'000) break;
    }
    BOOST_TEST((got == sent.substr(0, got.size())));
    BOOST_TEST(lost() == 0u);
}

// Every field of a record, one bit after another: whatever it then says, adoption neither crashes nor touches
// others.
BOOST_AUTO_TEST_CASE(a_record_with_any_bit_changed_harms_itself_alone) {
    for (size_t bit = 0; bit < sizeof(slot::Record) * 8; ++bit) {
        Ends other = echo_client();
        Ends e = echo_client();
        auto* bytes = reinterpret_cast<uint8_t*>(&memory.records()[e.server]);
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1u << bit % 8));
        succeed();
        write_all(other.client.get(), "hello");
        worker->turn();
        BOOST_REQUIRE_MESSAGE(read_now(other.client.get()) == "hello", "bit " << bit);
        int next = 0;
        BOOST_REQUIRE(worker->connections.end_some(slot::CloseReason::stopped, &next, ~uint64_t{0}));
        close(e.server);  // some are forgotten by their flipped state
        BOOST_REQUIRE(worker->connections.open_count() == 0u);
        memory.records()[e.server] = {};
    }
}

BOOST_AUTO_TEST_CASE(random_rubbish_in_the_whole_table_is_closed_not_followed) {
    constexpr int kFirst = slot::kFirstListenFd + 30;  // above what the fixture has itself
    std::srand(7);
    for (int round = 0; round < 200; ++round) {
        for (int fd = kFirst; fd < kFirst + 180; ++fd) {
            auto* bytes = reinterpret_cast<uint8_t*>(&memory.records()[fd]);
            for (size_t i = 0; i < sizeof(slot::Record); ++i) bytes[i] = static_cast<uint8_t>(std::rand());
            if (fd % 3 == 0) memory.records()[fd].owner = 0;
            if (fd % 5 == 0) memory.records()[fd].out = uint64_t{static_cast<uint32_t>(fd)} << 32 | 7;
        }
        for (slot::ChunkId id = 1; id < 1000; ++id)
            memory.chunk_links()[id] = {static_cast<uint64_t>(std::rand() % 1200),
                                        static_cast<uint64_t>(std::rand())};
        memory.worker_control().high_fd.store(kFirst + 180);
        succeed();
        BOOST_REQUIRE(worker->connections.open_count() == 0u);
        const auto& counters = memory.counters_of(0);
        for (size_t i = slot::kReasons; i < std::size(counters.closed); ++i)
            BOOST_REQUIRE(counters.closed[i] == 0u);
        for (const uint64_t refused : counters.refused) BOOST_REQUIRE(refused == 0u);
    }
}

// Another process (a core dump, here a duplicate) holds the file: close alone does not take it out of the
// epoll set.
BOOST_AUTO_TEST_CASE(a_registration_that_outlives_its_connection_is_noticed_and_the_set_made_anew) {
    Ends e = echo_client();
    Ends other = echo_client();
    UniqueFd elsewhere(dup(e.server));
    worker->connections.end(at(e.server), slot::CloseReason::idle);
    write_all(e.client.get(), "x");
    worker->connections.set_now(monotonic_ns());
    epoll_event event;
    BOOST_REQUIRE(worker->connections.poller().poll(&event, 1) == 1);
    worker->connections.on_event(event);
    BOOST_REQUIRE(worker->connections.needs_new_poller());
    UniqueFd fresh(epoll_create1(EPOLL_CLOEXEC));
    BOOST_REQUIRE(dup3(fresh.get(), poller_fd.get(), O_CLOEXEC) >= 0);
    worker->connections.watch_all_anew();
    BOOST_TEST(worker->connections.poller().poll(&event, 1) == 0);
    write_all(other.client.get(), "hello");
    worker->turn();
    BOOST_TEST(read_now(other.client.get()) == "hello");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
