#include "worker/net/deadlines.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <random>
#include <vector>

namespace tcpd::worker {

namespace {
std::vector<int> expired(Deadlines& deadlines, slot::Tick now) {
    std::vector<int> fds;
    deadlines.expire(now, [&fds](int fd) { fds.push_back(fd); });
    return fds;
}
}  // namespace

BOOST_AUTO_TEST_SUITE(net_deadlines)

BOOST_AUTO_TEST_CASE(due_is_when_it_comes_out_never_earlier) {
    Deadlines deadlines(100);
    deadlines.arm(5, 1000);
    BOOST_TEST(expired(deadlines, 999).empty());
    BOOST_TEST(expired(deadlines, 1000).size() == 1u);
    BOOST_TEST(deadlines.is_empty());
    BOOST_TEST(expired(deadlines, 2000).empty());
}

BOOST_AUTO_TEST_CASE(an_earlier_entry_stays_a_later_one_is_replaced) {
    Deadlines deadlines(100);
    deadlines.arm(5, 1000);
    deadlines.arm(5, 2000);
    BOOST_TEST(expired(deadlines, 1000).size() == 1u);
    deadlines.arm(6, 3000);
    deadlines.arm(6, 1500);
    BOOST_TEST(expired(deadlines, 1500).size() == 1u);
    BOOST_TEST(expired(deadlines, 3500).empty());
}

BOOST_AUTO_TEST_CASE(cancelled_is_gone_wherever_it_hung_in_its_list) {
    Deadlines deadlines(100);
    for (int fd = 1; fd <= 3; ++fd) deadlines.arm(fd, 1000);
    deadlines.cancel(2);
    deadlines.cancel(2);
    deadlines.cancel(3);
    BOOST_TEST((expired(deadlines, 1000) == std::vector<int>{1}));
}

BOOST_AUTO_TEST_CASE(one_that_is_several_turns_away_waits_for_its_turn) {
    Deadlines deadlines(100);
    expired(deadlines, 0);
    deadlines.arm(5, 3 * 4096 + 7);
    for (slot::Tick now = 1; now < 3 * 4096 + 7; now += 3) BOOST_REQUIRE(expired(deadlines, now).empty());
    BOOST_TEST(expired(deadlines, 3 * 4096 + 7).size() == 1u);
}

// Counted, not timed: a list that is looked through anew for each entry that comes out of it takes thousands of
// looks an entry.
BOOST_AUTO_TEST_CASE(two_crowds_in_one_slot_cost_two_looks_an_entry_at_most) {
    constexpr uint32_t kCrowd = 3000;
    Deadlines deadlines(2 * kCrowd + 1);
    expired(deadlines, 0);
    const auto arm_all = [&](uint32_t first, slot::Tick due) {
        for (uint32_t i = 0; i < kCrowd; ++i) deadlines.arm(static_cast<int>(first + i), due);
    };
    arm_all(1, 300);
    arm_all(1 + kCrowd, 300 + 9 * 4096);
    BOOST_TEST(expired(deadlines, 301).size() == kCrowd);
    BOOST_TEST(deadlines.steps() <= 4 * kCrowd);
    for (slot::Tick now = 304; now < 300 + 9 * 4096; now += 3) BOOST_REQUIRE(expired(deadlines, now).empty());
    BOOST_TEST(expired(deadlines, 300 + 9 * 4096).size() == kCrowd);
    BOOST_TEST(deadlines.steps() <= 32 * kCrowd);
}

BOOST_AUTO_TEST_CASE(what_is_armed_again_a_turn_later_is_not_looked_at_for_each_that_comes_out) {
    constexpr uint32_t kCrowd = 3000;
    Deadlines deadlines(kCrowd + 1);
    expired(deadlines, 0);
    for (uint32_t fd = 1; fd <= kCrowd; ++fd) deadlines.arm(static_cast<int>(fd), 300);
    deadlines.expire(301, [&](int fd) { deadlines.arm(fd, 301 + 4095); });
    BOOST_TEST(deadlines.steps() <= 2 * kCrowd);
    BOOST_TEST(expired(deadlines, 301 + 4095).size() == kCrowd);
}

BOOST_AUTO_TEST_CASE(what_waits_for_the_next_call_comes_first_in_it_and_may_be_cancelled_or_armed) {
    Deadlines deadlines(100);
    expired(deadlines, 0);
    for (int fd = 1; fd <= 10; ++fd) deadlines.arm(fd, 100 + static_cast<slot::Tick>(fd / 6) * 8);
    std::vector<int> out;
    const auto look = [&out](int fd) { return out.push_back(fd), out.size() < 3; };
    BOOST_TEST(!deadlines.expire_some(110, look));
    std::vector<int> left;
    for (int fd = 1; fd <= 10; ++fd) {
        if (std::find(out.begin(), out.end(), fd) == out.end()) left.push_back(fd);
    }
    deadlines.cancel(left[0]);
    deadlines.cancel(left[1]);
    deadlines.arm(left[1], 200);
    BOOST_TEST(expired(deadlines, 110).size() == left.size() - 2);
    BOOST_TEST((expired(deadlines, 200) == std::vector<int>{left[1]}));
    BOOST_TEST(deadlines.is_empty());
}

BOOST_AUTO_TEST_CASE(against_a_plain_list_across_the_wrap_of_ticks) {
    Deadlines deadlines(200);
    std::vector<slot::Tick> due(200, 0);
    std::vector<bool> armed(200, false);
    std::mt19937 random(1);
    slot::Tick now = 0xFFFFFFFF - 20000;
    for (int step = 0; step < 4000; ++step) {
        const int fd = static_cast<int>(random() % 199) + 1;
        const auto index = static_cast<size_t>(fd);
        if (random() % 4 == 0) {
            deadlines.cancel(fd);
            armed[index] = false;
        } else {
            const slot::Tick at = now + random() % 6000;
            deadlines.arm(fd, at);
            if (!armed[index] || static_cast<int32_t>(at - due[index]) < 0) due[index] = at;
            armed[index] = true;
        }
        now += random() % 20;
        for (const int out : expired(deadlines, now)) {
            const auto i = static_cast<size_t>(out);
            BOOST_REQUIRE(armed[i]);
            BOOST_REQUIRE(static_cast<int32_t>(due[i] - now) <= 0);
            armed[i] = false;
        }
        for (size_t i = 0; i < 200; ++i) BOOST_REQUIRE((!armed[i] || static_cast<int32_t>(due[i] - now) > 0));
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
