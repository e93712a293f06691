#include "master/supervisor.h"

#include <signal.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>

using namespace tcpd;
using namespace tcpd::master;
using namespace std::chrono_literals;

namespace {

constexpr uint64_t kMs = 1'000'000;

// A supervisor, a clock, and heartbeats that go on unless a test holds them.
struct Desk {
    uint64_t now = 1'000'000 * kMs;
    Supervisor supervisor;
    std::vector<Pulse> pulses;
    std::vector<bool> silent;
    std::vector<Action> seen;

    explicit Desk(unsigned slots, Duration watchdog = 10s)
        : supervisor({slots, 100ms, 1s, watchdog}, now), pulses(slots), silent(slots) {}

    std::vector<Action> conclude() {
        supervisor.conclude(now);
        seen = supervisor.take_actions();
        return seen;
    }
    bool did(const Action& action) const { return std::find(seen.begin(), seen.end(), action) != seen.end(); }
    bool did(Act act, uint32_t slot = 0) const {
        return std::any_of(seen.begin(), seen.end(),
                           [&](const Action& action) { return action.act == act && action.slot == slot; });
    }
    // As the loop does: sleeps until it is due, ticks, concludes; collects what was done on the way.
    void pass(Duration time) {
        const uint64_t end = now + to_ns(time);
        std::vector<Action> all;
        while (now < end) {
            now = std::min(end, std::max(supervisor.next_wake(), now + kMs));
            for (size_t i = 0; i < pulses.size(); ++i) {
                if (!silent[i]) pulses[i].heartbeat_ns = now;
            }
            supervisor.on_tick(pulses, now);
            supervisor.conclude(now);
            for (const Action& action : supervisor.take_actions()) all.push_back(action);
        }
        seen = all;
    }
    // Image pid, worker and standby of a slot's first life: 100 + slot, same, 200 + slot.
    void serve(uint32_t slot) {
        supervisor.on_born(slot, static_cast<pid_t>(100 + slot));
        supervisor.on_seated(slot, static_cast<pid_t>(100 + slot), static_cast<pid_t>(200 + slot), now);
        supervisor.on_serving(slot, static_cast<pid_t>(100 + slot), now);
    }
    void serve_all() {
        conclude();
        for (uint32_t i = 0; i < supervisor.slots(); ++i) serve(i);
        conclude();
    }
    SlotState state(uint32_t slot = 0) const { return supervisor.slot(slot).state; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(supervisor)

BOOST_AUTO_TEST_CASE(every_slot_is_born_with_an_image_of_its_own) {
    Desk desk(3);
    const std::vector<Action> births = {{.act = Act::give_birth, .slot = 0, .number = 1},
                                        {.act = Act::give_birth, .slot = 1, .number = 2},
                                        {.act = Act::give_birth, .slot = 2, .number = 3}};
    BOOST_TEST((desk.conclude() == births));
    BOOST_TEST(desk.conclude().empty());
}

BOOST_AUTO_TEST_CASE(it_is_ready_once_every_slot_serves) {
    Desk desk(2);
    desk.conclude();
    desk.serve(0);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::became_ready));
    desk.serve(1);
    desk.conclude();
    BOOST_TEST(desk.did(Act::became_ready));
    desk.conclude();
    BOOST_TEST(!desk.did(Act::became_ready));
    BOOST_TEST(desk.supervisor.is_ready());
}

BOOST_AUTO_TEST_CASE(a_worker_may_be_killed_for_memory_and_its_standby_not) {
    Desk desk(1);
    desk.serve_all();
    BOOST_TEST(desk.did({.act = Act::unshield, .slot = 0, .pid = 100}));
    BOOST_TEST(std::count_if(desk.seen.begin(), desk.seen.end(),
                             [](const Action& action) { return action.act == Act::unshield; }) == 1);
}

BOOST_AUTO_TEST_CASE(a_death_in_the_seat_wakes_the_standby_before_anything_is_concluded) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_death(0, 100, desk.now);
    const std::vector<Action> wake = {{Act::wake_standby, 0, 100, 200}};
    BOOST_TEST((desk.supervisor.take_actions() == wake));
    BOOST_TEST((desk.state() == SlotState::succeeding));
}

BOOST_AUTO_TEST_CASE(a_succession_known_before_the_death_needs_no_waking) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_seated(0, 200, 300, desk.now);
    desk.supervisor.on_death(0, 100, desk.now);
    BOOST_TEST((desk.state() == SlotState::seated));
    desk.conclude();
    BOOST_TEST(!desk.did(Act::wake_standby));
    desk.supervisor.on_serving(0, 200, desk.now);
    BOOST_TEST((desk.state() == SlotState::serving));
    BOOST_TEST(desk.supervisor.slot(0).standby == 300);
}

BOOST_AUTO_TEST_CASE(a_standby_that_does_not_come_is_woken_again_and_in_the_end_killed) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_death(0, 100, desk.now);
    desk.conclude();
    desk.pass(5s);
    const auto wakes = std::count(desk.seen.begin(), desk.seen.end(), Action{Act::wake_standby, 0, 100, 200});
    BOOST_TEST(wakes >= 40);
    BOOST_TEST(wakes <= 51);
    BOOST_TEST(!desk.did(Act::kill_slot));
    desk.pass(6s);
    BOOST_TEST(desk.did(Act::kill_slot));
    BOOST_TEST(desk.did(Act::report_stuck));
}

BOOST_AUTO_TEST_CASE(a_successor_that_dies_unheard_has_its_own_clone_woken) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_death(0, 100, desk.now);
    desk.supervisor.take_actions();
    desk.supervisor.on_death(0, 200, desk.now);
    const std::vector<Action> wake = {{Act::wake_standby, 0, 200, 0}};
    BOOST_TEST((desk.supervisor.take_actions() == wake));
    desk.supervisor.on_seated(0, 300, 301, desk.now);
    desk.supervisor.on_serving(0, 300, desk.now);
    desk.conclude();
    BOOST_TEST((desk.state() == SlotState::serving));
    BOOST_TEST(desk.supervisor.slot(0).standbys_lost == 0U);
}

BOOST_AUTO_TEST_CASE(an_image_that_died_in_its_seat_unheard_has_its_clone_woken) {
    Desk desk(1);
    desk.conclude();
    desk.supervisor.on_born(0, 100);
    desk.supervisor.on_death(0, 100, desk.now);
    const std::vector<Action> wake = {{Act::wake_standby, 0, 100, 0}};
    BOOST_TEST((desk.supervisor.take_actions() == wake));
    BOOST_TEST((desk.state() == SlotState::starting));
}

BOOST_AUTO_TEST_CASE(the_death_of_a_former_worker_changes_nothing) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_death(0, 77, desk.now);
    BOOST_TEST(desk.conclude().empty());
    BOOST_TEST((desk.state() == SlotState::serving));
}

BOOST_AUTO_TEST_CASE(messages_of_another_than_the_worker_are_passed_over) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_backing_off(0, 99, desk.now);
    BOOST_TEST((desk.state() == SlotState::serving));
    desk.supervisor.on_seated(0, 200, 300, desk.now);
    desk.supervisor.on_serving(0, 100, desk.now);
    BOOST_TEST((desk.state() == SlotState::seated));
}

// -- both gone

BOOST_AUTO_TEST_CASE(a_slot_that_lost_its_table_is_dropped_and_born_at_once) {
    Desk desk(2);
    desk.serve_all();
    desk.pass(200ms);
    desk.supervisor.on_table_gone(0, desk.now);
    const std::vector<Action> expected = {{.act = Act::drop_slot, .slot = 0},
                                          {.act = Act::give_birth, .slot = 0, .number = 3},
                                          {.act = Act::steer}};
    BOOST_TEST((desk.conclude() == expected));
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{1}));
}

BOOST_AUTO_TEST_CASE(deaths_of_both_end_no_slot_before_its_table_is_gone) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_death(0, 100, desk.now);
    desk.supervisor.on_death(0, 200, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::drop_slot));
    BOOST_TEST(!desk.did(Act::give_birth));
}

BOOST_AUTO_TEST_CASE(early_deaths_in_a_row_are_waited_for_longer_and_longer) {
    Desk desk(1);
    desk.serve_all();
    for (const Duration wait : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
        desk.pass(199ms);
        desk.supervisor.on_table_gone(0, desk.now);
        desk.conclude();
        BOOST_TEST(!desk.did(Act::give_birth));
        desk.pass(wait - 1ms);
        BOOST_TEST(!desk.did(Act::give_birth));
        desk.pass(1ms);
        BOOST_TEST(desk.did(Act::give_birth));
        desk.serve(0);
    }
    desk.pass(200ms);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::give_birth));
    BOOST_TEST(desk.supervisor.slot(0).short_births == 0U);
}

BOOST_AUTO_TEST_CASE(a_table_that_never_served_counts_as_short_however_long_it_took) {
    Desk desk(1);
    desk.serve_all();
    desk.pass(1s);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    desk.supervisor.on_born(0, 101);
    desk.pass(5s);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::give_birth));
    desk.pass(100ms);
    BOOST_TEST(desk.did(Act::give_birth));
}

BOOST_AUTO_TEST_CASE(a_birth_that_fails_is_tried_again_later) {
    Desk desk(1);
    desk.serve_all();
    desk.pass(1s);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    desk.supervisor.on_birth_failed(0, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::give_birth));
    BOOST_TEST(!desk.did(Act::start_failed));
    desk.pass(100ms);
    BOOST_TEST(desk.did(Act::give_birth));
}

BOOST_AUTO_TEST_CASE(an_image_that_hangs_in_its_start_is_killed) {
    Desk desk(1);
    desk.conclude();
    desk.supervisor.on_born(0, 100);
    desk.pass(29s);
    BOOST_TEST(!desk.did(Act::kill_slot));
    desk.pass(2s);
    BOOST_TEST(desk.did(Act::kill_slot));
}

// -- the first start

BOOST_AUTO_TEST_CASE(a_first_image_that_exits_fails_the_start) {
    Desk desk(2);
    desk.conclude();
    desk.serve(1);
    desk.supervisor.on_born(0, 100);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::start_failed));
    BOOST_TEST(!desk.did(Act::give_birth));
}

BOOST_AUTO_TEST_CASE(a_first_birth_that_fails_fails_the_start) {
    Desk desk(1);
    desk.conclude();
    desk.supervisor.on_birth_failed(0, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::start_failed));
}

BOOST_AUTO_TEST_CASE(a_slot_that_served_once_may_die_before_all_others_are_ready) {
    Desk desk(2);
    desk.conclude();
    desk.serve(0);
    desk.conclude();
    desk.pass(300ms);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::start_failed));
    BOOST_TEST(desk.did(Act::give_birth));
}

// -- a standby that is lost

BOOST_AUTO_TEST_CASE(an_exposed_slot_is_left_out_while_another_is_whole) {
    Desk desk(2);
    desk.serve_all();
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{0, 1}));
    desk.pulses[0].open = 5;
    desk.pass(1s);
    desk.supervisor.on_death(0, 200, desk.now);
    const std::vector<Action> expected = {{Act::report_exposed, 0, 100}, {Act::steer}, {Act::pause_accept, 0}};
    BOOST_TEST((desk.conclude() == expected));
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{1}));
    BOOST_TEST(desk.supervisor.slot(0).standbys_lost == 1U);
    BOOST_TEST(desk.conclude().empty());
}

BOOST_AUTO_TEST_CASE(exposed_slots_go_on_accepting_where_none_is_whole) {
    Desk desk(2);
    desk.serve_all();
    desk.pulses[0].open = desk.pulses[1].open = 5;
    desk.pass(1s);
    desk.supervisor.on_death(0, 200, desk.now);
    desk.conclude();
    desk.supervisor.on_death(1, 201, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::resume_accept, 0));
    BOOST_TEST(!desk.did(Act::pause_accept, 1));
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{0, 1}));
}

BOOST_AUTO_TEST_CASE(an_exposed_slot_is_replaced_once_it_is_empty) {
    Desk desk(2);
    desk.serve_all();
    desk.pulses[0].open = 5;
    desk.pass(1s);
    desk.supervisor.on_death(0, 200, desk.now);
    desk.conclude();
    desk.pass(10s);
    BOOST_TEST(!desk.did(Act::retire));
    desk.pulses[0].open = 0;
    desk.pass(200ms);
    BOOST_TEST(desk.did(Act::retire));
    desk.supervisor.on_death(0, 100, desk.now);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::give_birth));
    desk.serve(0);
    desk.conclude();
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{0, 1}));
    BOOST_TEST(!desk.supervisor.slot(0).exposed);
}

BOOST_AUTO_TEST_CASE(to_retire_is_asked_again_if_a_connection_came_in_just_then) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_death(0, 200, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::retire));
    desk.pass(2500ms);
    BOOST_TEST(std::count(desk.seen.begin(), desk.seen.end(), Action{Act::retire, 0}) == 2);
}

BOOST_AUTO_TEST_CASE(a_worker_that_could_not_clone_is_exposed_and_not_replaced_in_a_loop) {
    Desk desk(1);
    desk.conclude();
    for (const Duration wait : {100ms, 200ms, 400ms}) {
        desk.supervisor.on_born(0, 100);
        desk.supervisor.on_seated(0, 100, 0, desk.now);
        desk.supervisor.on_serving(0, 100, desk.now);
        desk.conclude();
        BOOST_TEST(desk.did(Act::report_exposed));
        desk.pass(wait - 50ms);
        BOOST_TEST(!desk.did(Act::retire));
        desk.pass(150ms);
        BOOST_TEST(desk.did(Act::retire));
        desk.supervisor.on_table_gone(0, desk.now);
        desk.conclude();
        BOOST_TEST(desk.did(Act::give_birth));
    }
}

BOOST_AUTO_TEST_CASE(a_worker_in_back_off_gets_no_connections_and_no_watchdog) {
    Desk desk(2);
    desk.serve_all();
    desk.supervisor.on_seated(0, 200, 300, desk.now);
    desk.supervisor.on_backing_off(0, 200, desk.now);
    desk.conclude();
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{1}));
    desk.silent[0] = true;
    desk.pass(60s);
    BOOST_TEST(!desk.did(Act::signal_process));
    desk.supervisor.on_serving(0, 200, desk.now);
    desk.conclude();
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{0, 1}));
}

BOOST_AUTO_TEST_CASE(with_nobody_in_service_steering_stays_as_it_was) {
    Desk desk(2);
    desk.serve_all();
    desk.supervisor.on_seated(0, 200, 300, desk.now);
    desk.supervisor.on_seated(1, 201, 301, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::steer));
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{0, 1}));
}

// -- the watchdog

BOOST_AUTO_TEST_CASE(a_silent_worker_gets_an_abort_and_a_second_later_a_kill) {
    Desk desk(2);
    desk.serve_all();
    desk.silent[0] = true;
    desk.pass(9s);
    BOOST_TEST(!desk.did(Act::signal_process));
    desk.pass(1100ms);
    BOOST_TEST(desk.did({Act::signal_process, 0, 100, 0, SIGABRT}));
    BOOST_TEST(desk.did(Act::report_hang));
    BOOST_TEST(!desk.did({Act::signal_process, 0, 100, 0, SIGKILL}));
    desk.pass(1s);
    BOOST_TEST(desk.did({Act::signal_process, 0, 100, 0, SIGKILL}));
    BOOST_TEST(!desk.did(Act::signal_process, 1));
}

BOOST_AUTO_TEST_CASE(an_aborted_worker_that_gave_its_seat_away_may_dump_its_core_in_peace) {
    Desk desk(1);
    desk.serve_all();
    desk.silent[0] = true;
    desk.pass(10100ms);
    BOOST_TEST(desk.did({Act::signal_process, 0, 100, 0, SIGABRT}));
    desk.supervisor.on_seated(0, 200, 300, desk.now);
    desk.supervisor.on_serving(0, 200, desk.now);
    desk.silent[0] = false;
    desk.pass(60s);
    BOOST_TEST(!desk.did(Act::signal_process));
}

BOOST_AUTO_TEST_CASE(a_successor_is_watched_from_its_own_seat_on) {
    Desk desk(1);
    desk.serve_all();
    desk.silent[0] = true;
    desk.pass(9s);
    desk.supervisor.on_seated(0, 200, 300, desk.now);
    desk.pass(9s);
    BOOST_TEST(!desk.did(Act::signal_process));
    desk.pass(2s);
    BOOST_TEST(desk.did({Act::signal_process, 0, 200, 0, SIGABRT}));
}

BOOST_AUTO_TEST_CASE(a_master_that_stood_still_grants_a_new_interval) {
    Desk desk(1);
    desk.serve_all();
    desk.silent[0] = true;
    desk.pass(1s);
    desk.now += 60'000 * kMs;
    desk.supervisor.on_tick(desk.pulses, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::signal_process));
    desk.pass(9s);
    BOOST_TEST(!desk.did(Act::signal_process));
    desk.pass(2s);
    BOOST_TEST(desk.did({Act::signal_process, 0, 100, 0, SIGABRT}));
}

BOOST_AUTO_TEST_CASE(a_heartbeat_from_the_future_is_none) {
    Desk desk(1);
    desk.serve_all();
    desk.silent[0] = true;
    desk.pulses[0].heartbeat_ns = ~uint64_t{0};
    desk.pass(11s);
    BOOST_TEST(desk.did({Act::signal_process, 0, 100, 0, SIGABRT}));
}

BOOST_AUTO_TEST_CASE(without_a_watchdog_silence_is_fine) {
    Desk desk(1, 0s);
    desk.serve_all();
    desk.silent[0] = true;
    desk.pass(1h);
    BOOST_TEST(desk.seen.empty());
}

BOOST_AUTO_TEST_CASE(it_sleeps_as_long_as_nothing_is_due) {
    Desk desk(1);
    desk.serve_all();
    desk.pass(1s);
    BOOST_TEST(desk.supervisor.next_wake() == desk.now + 1000 * kMs);
}

// -- drain and stop

BOOST_AUTO_TEST_CASE(a_drain_is_told_once_and_ends_with_the_last_table) {
    Desk desk(2);
    desk.serve_all();
    desk.supervisor.drain(0, desk.now);
    desk.supervisor.drain(0, desk.now);
    const std::vector<Action> expected = {{Act::tell_drain, 0}, {Act::tell_drain, 1}};
    BOOST_TEST((desk.conclude() == expected));
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::give_birth));
    BOOST_TEST(!desk.supervisor.is_over());
    desk.supervisor.on_table_gone(1, desk.now);
    BOOST_TEST(desk.supervisor.is_over());
}

BOOST_AUTO_TEST_CASE(a_drain_without_a_limit_waits) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.drain(0, desk.now);
    desk.conclude();
    desk.pass(2h);
    BOOST_TEST(desk.seen.empty());
}

BOOST_AUTO_TEST_CASE(a_drain_that_is_over_its_time_becomes_a_stop_and_then_a_kill) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.drain(desk.now + 5000 * kMs, desk.now);
    desk.pass(6900ms);
    BOOST_TEST(!desk.did(Act::tell_stop));
    desk.pass(200ms);
    BOOST_TEST(desk.did(Act::tell_stop));
    BOOST_TEST(!desk.did(Act::kill_slot));
    desk.pass(2s);
    BOOST_TEST(desk.did(Act::kill_slot));
}

BOOST_AUTO_TEST_CASE(a_slot_is_drained_on_through_a_succession) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.drain(0, desk.now);
    desk.conclude();
    desk.supervisor.on_death(0, 100, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did({Act::wake_standby, 0, 100, 200}));
    desk.supervisor.on_seated(0, 200, 300, desk.now);
    desk.supervisor.on_serving(0, 200, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.supervisor.is_over());
}

BOOST_AUTO_TEST_CASE(a_drain_does_not_pause_or_retire) {
    Desk desk(2);
    desk.serve_all();
    desk.supervisor.drain(0, desk.now);
    desk.conclude();
    desk.supervisor.on_death(0, 200, desk.now);
    desk.pass(5s);
    BOOST_TEST(desk.did(Act::report_exposed));
    BOOST_TEST(!desk.did(Act::pause_accept));
    BOOST_TEST(!desk.did(Act::retire));
    BOOST_TEST(!desk.did(Act::steer));
}

BOOST_AUTO_TEST_CASE(a_slot_that_waits_for_its_birth_is_not_born_into_a_drain) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST((desk.state() == SlotState::waiting));
    desk.supervisor.drain(0, desk.now);
    BOOST_TEST(desk.supervisor.is_over());
    desk.pass(1s);
    BOOST_TEST(!desk.did(Act::give_birth));
}

BOOST_AUTO_TEST_CASE(a_stop_kills_what_is_left_after_two_seconds_again_and_again) {
    Desk desk(2);
    desk.serve_all();
    desk.supervisor.stop(desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::tell_stop, 0));
    BOOST_TEST(desk.did(Act::tell_stop, 1));
    desk.supervisor.on_table_gone(1, desk.now);
    desk.pass(1900ms);
    BOOST_TEST(!desk.did(Act::kill_slot));
    desk.pass(1s);
    BOOST_TEST(std::count(desk.seen.begin(), desk.seen.end(), Action{Act::kill_slot, 0}) >= 5);
    BOOST_TEST(!desk.did(Act::kill_slot, 1));
}

BOOST_AUTO_TEST_CASE(a_stop_before_the_first_service_is_no_failed_start) {
    Desk desk(1);
    desk.conclude();
    desk.supervisor.on_born(0, 100);
    desk.supervisor.stop(desk.now);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::start_failed));
    BOOST_TEST(desk.supervisor.is_over());
}

BOOST_AUTO_TEST_CASE(a_thousand_ticks_of_a_stop_are_not_a_busy_loop) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.drain(desk.now + kMs, desk.now);
    desk.pass(10s);
    desk.supervisor.on_tick(desk.pulses, desk.now);
    BOOST_TEST(desk.supervisor.next_wake() > desk.now);
}

BOOST_AUTO_TEST_SUITE_END()
