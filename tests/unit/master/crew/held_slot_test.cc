#include "master/crew/held_slot.h"

#include <ev.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

using namespace tcpd;
using namespace tcpd::master;

namespace {

struct Loop {
    struct ev_loop* raw = ev_loop_new(unsigned{EVBACKEND_EPOLL} | unsigned{EVFLAG_NOENV});
    ~Loop() { ev_loop_destroy(raw); }
};

// Both ends of a slot: as the master holds it, and as its worker would.
struct Pair : ChannelMessages {
    Loop loop;
    std::vector<slot::Message> messages;
    std::vector<uint32_t> senders;  // images
    std::unique_ptr<HeldSlot> held;
    UniqueFd worker_end;
    std::optional<slot::SlotMemory> worker_memory;

    Pair() {
        auto made = HeldSlot::make(loop.raw, {.slot_number = 3, .record_count = 64}, 9, *this);
        BOOST_REQUIRE_MESSAGE(made, (made ? "" : made.error().text()));
        held = std::move(*made);
        worker_end = take_end(held->channel());
        held->set_listener_name(0, "echo");
        held->set_listener_name(1, "gateway");
        auto mapped = slot::SlotMemory::map(held->board_fd(), held->buffers_fd());
        BOOST_REQUIRE(mapped);
        worker_memory.emplace(std::move(*mapped));
    }
    static UniqueFd take_end(Channel& channel) {
        UniqueFd end(::dup(channel.slot_end()));
        channel.close_slot_end();
        return end;
    }
    void on_message(Channel& channel, const slot::Message& message) override {
        BOOST_TEST(channel.slot() == 3U);
        senders.push_back(channel.image());
        messages.push_back(message);
    }
    slot::MasterControl& control() { return worker_memory->master_control(); }
    slot::WorkerControl& worker() { return worker_memory->worker_control(); }
    std::optional<slot::MessageType> told() {
        auto received = slot::receive_message(worker_end.get());
        if (!received) return std::nullopt;
        return received->message.type;
    }
    void say(const slot::Message& message) { BOOST_REQUIRE(slot::send_message(worker_end.get(), message)); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(held_slot)

BOOST_AUTO_TEST_CASE(an_image_finds_itself_in_service_and_listeners_by_name) {
    Pair pair;
    BOOST_TEST(pair.control().word.load() == (slot::ServiceWord{9, 0}.pack()));
    BOOST_TEST(std::string(pair.worker_memory->listener_name(0).text) == "echo");
    BOOST_TEST(std::string(pair.worker_memory->listener_name(1).text) == "gateway");
    BOOST_TEST(pair.held->memory().slot_number() == 3U);
}

BOOST_AUTO_TEST_CASE(messages_are_handed_on_in_order_and_then_the_end) {
    Pair pair;
    pair.say({slot::MessageType::started});
    pair.say({slot::MessageType::seated, 1, 2, 3});
    pair.worker_end.reset();
    ev_run(pair.loop.raw, EVRUN_ONCE);
    BOOST_REQUIRE(pair.messages.size() == 2U);
    BOOST_TEST((pair.messages[1].type == slot::MessageType::seated));
    BOOST_TEST(pair.messages[1].c == 3U);
    BOOST_TEST(pair.held->is_table_gone());
}

BOOST_AUTO_TEST_CASE(malformed_messages_are_passed_over) {
    Pair pair;
    BOOST_REQUIRE(::write(pair.worker_end.get(), "rubbish", 7) == 7);
    pair.say({slot::MessageType::serving, 5});
    pair.held->read_messages();
    BOOST_REQUIRE(pair.messages.size() == 1U);
    BOOST_TEST(pair.messages[0].a == 5U);
    BOOST_TEST(!pair.held->is_table_gone());
}

BOOST_AUTO_TEST_CASE(a_drain_is_in_memory_when_it_is_told) {
    Pair pair;
    pair.held->drain({.begin_ns = 5, .end_ns = 9, .spread = true});
    BOOST_TEST((pair.told() == slot::MessageType::drain));
    BOOST_TEST(pair.control().drain_begin_ns.load() == 5U);
    BOOST_TEST(pair.control().drain_end_ns.load() == 9U);
    BOOST_TEST(pair.control().drain_manner.load() == slot::kDrainSpreads);
    pair.held->drain({.begin_ns = 5, .end_ns = 9, .spread = false, .leaves_queues = true});
    BOOST_TEST(pair.control().drain_manner.load() == slot::kDrainLeavesQueues);
}

BOOST_AUTO_TEST_CASE(a_stop_takes_the_image_out_of_service_first) {
    Pair pair;
    pair.held->stop();
    BOOST_TEST((pair.told() == slot::MessageType::stop));
    BOOST_TEST(pair.control().word.load() == 0U);
}

BOOST_AUTO_TEST_CASE(so_does_the_wish_that_it_retire) {
    Pair pair;
    pair.held->retire_if_empty();
    BOOST_TEST((pair.told() == slot::MessageType::retire_if_empty));
    BOOST_TEST(pair.control().word.load() == 0U);
}

BOOST_AUTO_TEST_CASE(accepting_is_paused_and_resumed) {
    Pair pair;
    pair.held->pause_accept(true);
    BOOST_TEST((pair.told() == slot::MessageType::pause_accept));
    BOOST_TEST(pair.control().accept_paused.load() == 1U);
    pair.held->pause_accept(false);
    BOOST_TEST((pair.told() == slot::MessageType::resume_accept));
    BOOST_TEST(pair.control().accept_paused.load() == 0U);
}

BOOST_AUTO_TEST_CASE(a_log_is_sent_again_until_it_is_taken) {
    Pair pair;
    pair.held->repeat_replace_log();
    BOOST_TEST(!pair.told().has_value());
    pair.held->replace_log(2);
    BOOST_TEST((pair.told() == slot::MessageType::replace_log));
    pair.held->repeat_replace_log();
    BOOST_TEST((pair.told() == slot::MessageType::replace_log));
    pair.held->on_log_replaced();
    pair.held->repeat_replace_log();
    BOOST_TEST(!pair.told().has_value());
}

BOOST_AUTO_TEST_CASE(a_full_socket_stops_nobody) {
    Pair pair;
    for (int i = 0; i < 10'000; ++i) pair.held->pause_accept(i % 2 == 0);
    pair.held->stop();
    BOOST_TEST(pair.control().word.load() == 0U);
}

// -- renewal

namespace {

// With an attempt of image 12 that has been begun.
struct Attempt : Pair {
    UniqueFd image_end;
    Attempt() {
        auto channel = held->open_attempt(loop.raw, 12, *this);
        BOOST_REQUIRE(channel);
        image_end = take_end(**channel);
        BOOST_REQUIRE(held->begin_hand_over());
    }
    bool try_word(slot::ServiceWord from, slot::ServiceWord to) {
        uint64_t expected = from.pack();
        return control().word.compare_exchange_strong(expected, to.pack());
    }
    bool is_word(slot::ServiceWord word) { return control().word.load() == word.pack(); }
};

}  // namespace

BOOST_AUTO_TEST_CASE(both_sides_of_a_hand_over_are_told_after_the_word) {
    Attempt attempt;
    BOOST_TEST(attempt.is_word({9, 12}));
    BOOST_TEST(attempt.control().other_tables.load() == 1U);
    auto from = slot::receive_message(attempt.worker_end.get());
    auto to = slot::receive_message(attempt.image_end.get());
    BOOST_REQUIRE(from && to);
    BOOST_TEST((from->message.type == slot::MessageType::hand_over));
    BOOST_TEST((to->message.type == slot::MessageType::receive_table));
    BOOST_TEST(from->message.a == 12U);
    BOOST_TEST(to->message.a == 12U);
    BOOST_REQUIRE(::write(from->descriptor.get(), "x", 1) == 1);  // the two ends of one pair
    char byte = 0;
    BOOST_TEST(::read(to->descriptor.get(), &byte, 1) == 1);
}

BOOST_AUTO_TEST_CASE(a_withdrawn_attempt_counts_until_its_table_is_gone) {
    Attempt attempt;
    BOOST_TEST(attempt.held->withdraw_attempt());
    BOOST_TEST(attempt.is_word({9, 0}));
    BOOST_TEST(attempt.held->attempt() == nullptr);
    attempt.held->read_messages();
    attempt.held->forget_ended();
    BOOST_TEST(attempt.control().other_tables.load() == 1U);
    attempt.image_end.reset();
    attempt.held->read_messages();
    BOOST_TEST(attempt.held->has_ended());
    attempt.held->forget_ended();
    BOOST_TEST(attempt.control().other_tables.load() == 0U);
    BOOST_TEST(!attempt.held->withdraw_attempt());
}

BOOST_AUTO_TEST_CASE(a_commit_is_not_withdrawn_and_the_former_table_counts) {
    Attempt attempt;
    BOOST_TEST(!attempt.held->note_commit());
    BOOST_REQUIRE(attempt.try_word({9, 12}, {12, 0}));
    BOOST_TEST(!attempt.held->withdraw_attempt());
    BOOST_TEST(attempt.is_word({12, 0}));
    BOOST_TEST(attempt.held->note_commit());
    BOOST_TEST(attempt.held->channel().image() == 12U);
    BOOST_TEST(attempt.held->attempt() == nullptr);
    BOOST_TEST(attempt.control().other_tables.load() == 1U);
    attempt.worker_end.reset();
    attempt.held->read_messages();
    attempt.held->forget_ended();
    BOOST_TEST(attempt.control().other_tables.load() == 0U);
    BOOST_TEST(!attempt.held->is_table_gone());
}

BOOST_AUTO_TEST_CASE(a_slot_out_of_service_begins_no_hand_over) {
    Pair pair;
    pair.held->stop();
    auto channel = pair.held->open_attempt(pair.loop.raw, 12, pair);
    BOOST_REQUIRE(channel);
    BOOST_TEST(!pair.held->begin_hand_over());
    BOOST_TEST(pair.control().word.load() == 0U);
    BOOST_TEST(pair.held->withdraw_attempt());
}

BOOST_AUTO_TEST_CASE(each_image_has_a_channel_of_its_own) {
    Attempt attempt;
    BOOST_REQUIRE(slot::send_message(attempt.image_end.get(), {slot::MessageType::started}));
    attempt.say({slot::MessageType::serving});
    attempt.held->read_messages();
    BOOST_REQUIRE(attempt.senders.size() == 2U);
    BOOST_TEST(attempt.senders[0] == 9U);
    BOOST_TEST(attempt.senders[1] == 12U);
}

// -- deaths and births

BOOST_AUTO_TEST_CASE(reaped_holders_are_counted_also_when_it_turns_out_later) {
    Pair pair;
    pair.held->on_reaped(50, true);
    BOOST_TEST(pair.control().reaped_seats.load() == 1U);
    pair.held->on_reaped(51, false);
    BOOST_TEST(pair.control().reaped_seats.load() == 1U);
    pair.held->on_predecessor(51);
    pair.held->on_predecessor(51);
    pair.held->on_predecessor(52);
    BOOST_TEST(pair.control().reaped_seats.load() == 2U);
}

BOOST_AUTO_TEST_CASE(the_newest_living_clone_is_found_and_no_stranger) {
    Pair pair;
    BOOST_TEST(pair.held->newest_clone() == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::pause();
        ::_exit(0);
    }
    pair.worker().clone_tids[4] = static_cast<uint32_t>(child);
    pair.worker().clone_tids[5] = static_cast<uint32_t>(::getppid());
    pair.worker().clones = 6;
    BOOST_TEST(pair.held->newest_clone() == child);
    BOOST_TEST(pair.held->names_clone(child));
    BOOST_TEST(!pair.held->names_clone(child + 1));
    pair.worker().clones = 0xFFFFFFFF;  // not trusted as an index
    BOOST_TEST(pair.held->newest_clone() == child);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    BOOST_TEST(pair.held->newest_clone() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
