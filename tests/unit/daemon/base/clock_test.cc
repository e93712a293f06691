#include "daemon/base/clock.h"

#include <boost/test/unit_test.hpp>
#include <ctime>

using namespace tcpd;

BOOST_AUTO_TEST_SUITE(clock_)

BOOST_AUTO_TEST_CASE(monotonic_time_never_goes_back) {
    uint64_t last = monotonic_ns();
    for (int i = 0; i < 1000; ++i) {
        uint64_t now = monotonic_ns();
        BOOST_REQUIRE(now >= last);
        last = now;
    }
}

BOOST_AUTO_TEST_CASE(the_two_clocks_are_those_of_the_kernel) {
    timespec monotonic{};
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    BOOST_TEST(monotonic_ns() / 1'000'000'000 - static_cast<uint64_t>(monotonic.tv_sec) <= 2U);
    BOOST_TEST(wall_ns() / 1'000'000'000 - static_cast<uint64_t>(time(nullptr)) <= 2U);
}

BOOST_AUTO_TEST_CASE(durations_become_nanoseconds) {
    BOOST_TEST(to_ns(Duration(1500)) == 1'500'000'000U);
    BOOST_TEST(to_ns(Duration(0)) == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
