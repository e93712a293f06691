#include <signal.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "tests/unit/master/supervisor_desk.h"

using namespace tcpd;
using namespace tcpd::master;

BOOST_AUTO_TEST_SUITE(supervisor_time)

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
    desk.supervisor.on_death(0, 100, false, desk.now);
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
    desk.supervisor.on_death(0, 200, false, desk.now);
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
