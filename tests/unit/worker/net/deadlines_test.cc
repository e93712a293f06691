#include "worker/net/deadlines.h"

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
