#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "daemon/slot/layout.h"
#include "tests/unit/master/supervisor_desk.h"

using namespace tcpd;
using namespace tcpd::master;

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
    desk.supervisor.on_death(0, 100, false, desk.now);
    const std::vector<Action> wake = {{Act::wake_standby, 0, 100, 200}};
    BOOST_TEST((desk.supervisor.take_actions() == wake));
    BOOST_TEST((desk.state() == SlotState::succeeding));
}

BOOST_AUTO_TEST_CASE(a_succession_known_before_the_death_needs_no_waking) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_seated(0, 200, 300, desk.now);
    desk.supervisor.on_death(0, 100, false, desk.now);
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
    desk.supervisor.on_death(0, 100, false, desk.now);
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
    desk.supervisor.on_death(0, 100, false, desk.now);
    desk.supervisor.take_actions();
    desk.supervisor.on_death(0, 200, false, desk.now);
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
    desk.supervisor.on_death(0, 100, false, desk.now);
    const std::vector<Action> wake = {{Act::wake_standby, 0, 100, 0}};
    BOOST_TEST((desk.supervisor.take_actions() == wake));
    BOOST_TEST((desk.state() == SlotState::starting));
}

BOOST_AUTO_TEST_CASE(the_death_of_a_former_worker_changes_nothing) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_death(0, 77, false, desk.now);
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
    desk.supervisor.on_death(0, 100, false, desk.now);
    desk.supervisor.on_death(0, 200, false, desk.now);
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
    desk.supervisor.on_death(0, 200, false, desk.now);
    const std::vector<Action> expected = {
        {Act::report_exposed, 0, 100}, {Act::steer}, {Act::pause_accept, 0}};
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
    desk.supervisor.on_death(0, 200, false, desk.now);
    desk.conclude();
    desk.supervisor.on_death(1, 201, false, desk.now);
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
    desk.supervisor.on_death(0, 200, false, desk.now);
    desk.conclude();
    desk.pass(10s);
    BOOST_TEST(!desk.did(Act::retire));
    desk.pulses[0].open = 0;
    desk.pass(200ms);
    BOOST_TEST(desk.did(Act::retire));
    desk.supervisor.on_death(0, 100, false, desk.now);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::give_birth));
    desk.serve(0);
    desk.conclude();
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{0, 1}));
    BOOST_TEST(!desk.supervisor.slot(0).exposed);
}

BOOST_AUTO_TEST_CASE(a_standby_that_retires_just_before_its_worker_exposes_nothing) {
    Desk desk(2);
    desk.serve_all();
    desk.supervisor.on_death(0, 200, true, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::report_exposed));
    desk.supervisor.on_death(0, 100, true, desk.now);
    desk.supervisor.on_table_gone(0, desk.now);
    desk.conclude();
    BOOST_TEST(desk.supervisor.slot(0).standbys_lost == 0U);
}

BOOST_AUTO_TEST_CASE(a_standby_that_retires_alone_exposes_its_worker) {
    Desk desk(2);
    desk.serve_all();
    desk.supervisor.on_death(0, 200, true, desk.now);
    desk.pass(2s);
    BOOST_TEST(desk.did(Act::report_exposed));
}

BOOST_AUTO_TEST_CASE(to_retire_is_asked_again_if_a_connection_came_in_just_then) {
    Desk desk(1);
    desk.serve_all();
    desk.supervisor.on_death(0, 200, false, desk.now);
    desk.conclude();
    BOOST_TEST(!desk.did(Act::retire));  // what it knows of connections is older than the death
    desk.pass(2500ms);
    BOOST_TEST(std::count(desk.seen.begin(), desk.seen.end(), Action{Act::retire, 0}) == 3);
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

BOOST_AUTO_TEST_CASE(a_slot_that_is_whole_again_is_in_service_again) {
    Desk desk(2);
    desk.serve_all();
    desk.supervisor.on_death(0, 200, false, desk.now);
    desk.conclude();
    desk.supervisor.on_seated(0, 300, 301, desk.now);
    desk.supervisor.on_serving(0, 300, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(Act::resume_accept));
    BOOST_TEST((desk.supervisor.in_service() == std::vector<uint32_t>{0, 1}));
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

// Shared memory has a column for each number.
BOOST_AUTO_TEST_CASE(a_slot_that_drains_keeps_its_number_and_there_are_no_more_than_so_many) {
    Desk desk(slot::kMaxSlots - 1);
    desk.serve_all();
    BOOST_TEST(desk.supervisor.spare_slots() == 1U);
    BOOST_TEST(desk.supervisor.add_slot(desk.now) == slot::kMaxSlots - 1);
    BOOST_TEST(desk.supervisor.spare_slots() == 0U);
    desk.supervisor.dismiss(7, 0, desk.now);
    BOOST_TEST(desk.supervisor.spare_slots() == 0U);
    desk.supervisor.on_table_gone(7, desk.now);
    BOOST_TEST(desk.supervisor.spare_slots() == 1U);
    BOOST_TEST(desk.supervisor.add_slot(desk.now) == 7U);
    BOOST_TEST(desk.supervisor.slots() == slot::kMaxSlots);
}

BOOST_AUTO_TEST_SUITE_END()
