#include "master/renewal/roll_out.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd::master;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

struct Desk {
    RollOut roll_out;
    uint64_t now = 100 * kSecond;
    std::vector<bool> serving = {true, true, true};
    std::vector<RollOutAction> last;

    void begin(std::vector<uint32_t> slots = {0, 1, 2}, bool can_turn_back = true) {
        roll_out.begin(std::move(slots), can_turn_back, now);
        conclude();
    }
    void conclude() {
        roll_out.conclude(serving, now);
        last = roll_out.take_actions();
    }
    void wait(uint64_t seconds) {
        now += seconds * kSecond;
        conclude();
    }
    bool did(RollOutAct act, uint32_t slot) const {
        for (const RollOutAction& action : last) {
            if (action.act == act && action.slot == slot) return true;
        }
        return false;
    }
    std::string finished() const {
        for (const RollOutAction& action : last) {
            if (action.act == RollOutAct::finished) return action.reason.empty() ? "fine" : action.reason;
        }
        return "not finished";
    }
    void renew(uint32_t slot) {
        roll_out.on_started(slot, now);
        conclude();
        BOOST_TEST(did(RollOutAct::hand_over, slot));
        roll_out.on_committed(slot, now);
        conclude();
    }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(roll_out)

BOOST_AUTO_TEST_CASE(slots_go_one_after_another) {
    Desk desk;
    desk.begin();
    BOOST_TEST(desk.last.size() == 1U);
    BOOST_TEST(desk.did(RollOutAct::execute, 0));
    desk.renew(0);
    BOOST_TEST(desk.did(RollOutAct::execute, 1));
    desk.renew(1);
    desk.renew(2);
    BOOST_TEST(desk.finished() == "fine");
    BOOST_TEST(desk.roll_out.is_idle());
    BOOST_TEST(desk.roll_out.next_wake() == ~uint64_t{0});
}

BOOST_AUTO_TEST_CASE(the_next_waits_until_the_canary_serves) {
    Desk desk;
    desk.begin();
    desk.roll_out.on_started(0, desk.now);
    desk.serving[0] = false;
    desk.roll_out.on_committed(0, desk.now);
    desk.conclude();
    BOOST_TEST((desk.roll_out.state() == RollOutState::settling));
    desk.serving[0] = true;
    desk.conclude();
    BOOST_TEST(desk.did(RollOutAct::execute, 1));
}

BOOST_AUTO_TEST_CASE(a_slot_that_does_not_serve_waits_for_its_turn) {
    Desk desk;
    desk.serving = {false, false, true};
    desk.begin();
    BOOST_TEST(desk.did(RollOutAct::execute, 2));
    desk.renew(2);
    BOOST_TEST((desk.roll_out.state() == RollOutState::choosing));
    desk.serving[1] = true;
    desk.conclude();
    BOOST_TEST(desk.did(RollOutAct::execute, 1));
}

BOOST_AUTO_TEST_CASE(a_canary_that_fails_changes_nothing) {
    Desk desk;
    desk.begin();
    desk.roll_out.on_over(0, "image 7 exited with 71", false, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(RollOutAct::withdraw, 0));
    BOOST_TEST(desk.finished() == "slot 0: image 7 exited with 71");
    BOOST_TEST(!desk.roll_out.is_turning_back());
}

BOOST_AUTO_TEST_CASE(what_was_renewed_goes_back_when_a_later_one_fails) {
    Desk desk;
    desk.begin();
    desk.renew(0);
    desk.roll_out.on_over(1, "it hung", false, desk.now);
    desk.conclude();
    BOOST_TEST(desk.roll_out.is_turning_back());
    BOOST_TEST(desk.did(RollOutAct::execute, 0));
    desk.renew(0);
    BOOST_TEST(desk.finished() == "slot 1: it hung");
}

BOOST_AUTO_TEST_CASE(a_way_back_that_fails_ends_with_the_first_reason) {
    Desk desk;
    desk.begin();
    desk.renew(0);
    desk.roll_out.on_over(1, "it hung", false, desk.now);
    desk.conclude();
    desk.roll_out.on_over(0, "no memory", false, desk.now);
    desk.conclude();
    BOOST_TEST(desk.finished() == "slot 1: it hung");
}

BOOST_AUTO_TEST_CASE(a_slot_whose_worker_died_is_tried_once_more) {
    Desk desk;
    desk.begin();
    desk.roll_out.on_started(0, desk.now);
    desk.roll_out.on_over(0, "its worker died", true, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(RollOutAct::withdraw, 0));
    BOOST_TEST(desk.did(RollOutAct::execute, 0));
    desk.roll_out.on_over(0, "its worker died", true, desk.now);
    desk.conclude();
    BOOST_TEST(desk.finished() == "slot 0: its worker died");
}

BOOST_AUTO_TEST_CASE(tries_are_counted_for_each_slot) {
    Desk desk;
    desk.begin();
    desk.roll_out.on_over(0, "its worker died", true, desk.now);
    desk.conclude();
    desk.renew(0);
    desk.roll_out.on_over(1, "its worker died", true, desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(RollOutAct::execute, 1));
}

BOOST_AUTO_TEST_CASE(every_step_has_its_time) {
    for (int step = 0; step < 4; ++step) {
        Desk desk;
        if (step == 0) desk.serving = {false, false, false};
        desk.begin({0});
        if (step >= 2) desk.roll_out.on_started(0, desk.now);
        if (step == 3) {
            desk.serving[0] = false;
            desk.roll_out.on_committed(0, desk.now);
        }
        const uint64_t limit = step == 2 ? 5 : 30;
        desk.wait(limit - 1);
        BOOST_TEST_CONTEXT(step) BOOST_TEST(desk.finished() == "not finished");
        BOOST_TEST(desk.roll_out.next_wake() == desk.now + kSecond);
        desk.wait(1);
        if (step == 3) {  // it is renewed, so it goes back
            BOOST_TEST(desk.roll_out.is_turning_back());
        } else {
            BOOST_TEST_CONTEXT(step) BOOST_TEST(desk.finished() != "not finished");
        }
    }
}

BOOST_AUTO_TEST_CASE(it_is_not_idle_before_its_end_was_taken_note_of) {
    Desk desk;
    desk.begin({0}, false);
    desk.roll_out.on_over(0, "it died", false, desk.now);
    BOOST_TEST(!desk.roll_out.is_idle());
    desk.conclude();
    BOOST_TEST(desk.finished() == "slot 0: it died");
    BOOST_TEST(desk.roll_out.is_idle());
}

BOOST_AUTO_TEST_CASE(what_comes_too_late_is_passed_over) {
    Desk desk;
    desk.begin();
    desk.roll_out.on_over(0, "it hung", false, desk.now);
    desk.conclude();
    desk.roll_out.on_started(0, desk.now);
    desk.roll_out.on_committed(0, desk.now);
    desk.roll_out.on_over(0, "it exited", false, desk.now);
    desk.conclude();
    BOOST_TEST(desk.last.empty());
}

BOOST_AUTO_TEST_CASE(a_commit_of_another_slot_is_none_of_this) {
    Desk desk;
    desk.begin();
    desk.roll_out.on_started(1, desk.now);
    desk.roll_out.on_over(2, "it died", true, desk.now);
    desk.conclude();
    BOOST_TEST(desk.last.empty());
    BOOST_TEST((desk.roll_out.state() == RollOutState::executing));
}

BOOST_AUTO_TEST_CASE(a_drain_ends_it_without_a_way_back) {
    Desk desk;
    desk.begin();
    desk.renew(0);
    desk.roll_out.abandon("the daemon drains", desk.now);
    desk.conclude();
    BOOST_TEST(desk.did(RollOutAct::withdraw, 1));
    BOOST_TEST(desk.finished() == "the daemon drains");
}

BOOST_AUTO_TEST_CASE(a_slot_that_comes_up_anew_is_renewed_as_well) {
    Desk desk;
    desk.begin({0, 1});
    desk.renew(0);
    desk.roll_out.add(0);
    desk.renew(1);
    BOOST_TEST(desk.did(RollOutAct::execute, 0));
    desk.renew(0);
    BOOST_TEST(desk.finished() == "fine");
}

BOOST_AUTO_TEST_SUITE_END()
