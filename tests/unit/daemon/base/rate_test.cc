#include "daemon/base/rate.h"

#include <boost/test/unit_test.hpp>
#include <thread>
#include <vector>

using tcpd::RateLimit;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kBegin = 77 * kSecond;

// How many of `tries` at one time.
unsigned admitted(const RateLimit& rate, uint64_t& due, uint64_t now, unsigned tries) {
    unsigned count = 0;
    for (unsigned i = 0; i < tries; ++i) count += rate.admit(due, now) ? 1 : 0;
    return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(rate)

BOOST_AUTO_TEST_CASE(no_limit_admits_all_and_leaves_the_word_alone) {
    uint64_t due = 5;
    std::atomic<uint64_t> shared = 5;
    for (const RateLimit& none : {RateLimit(), RateLimit(0, kSecond)}) {
        BOOST_TEST(!none.is_limited());
        BOOST_TEST(admitted(none, due, kBegin, 1'000) == 1'000U);
        BOOST_TEST(none.admit(shared, kBegin));
    }
    BOOST_TEST(due == 5U);
    BOOST_TEST(shared.load() == 5U);
}

BOOST_AUTO_TEST_CASE(a_burst_and_then_one_an_interval_to_the_nanosecond) {
    const RateLimit rate(20, kSecond);
    uint64_t due = 0;
    BOOST_TEST(admitted(rate, due, kBegin, 100) == 20U);
    for (uint64_t at = kBegin + kSecond / 20; at < kBegin + 3 * kSecond; at += kSecond / 20) {
        BOOST_TEST_CONTEXT("at " << at - kBegin) {
            BOOST_TEST(!rate.admit(due, at - 1));
            BOOST_TEST(rate.admit(due, at));
            BOOST_TEST(!rate.admit(due, at));
        }
    }
}

BOOST_AUTO_TEST_CASE(a_clock_that_stands_still_admits_one_burst) {
    const RateLimit rate(3, kSecond);
    uint64_t due = 0;
    BOOST_TEST(admitted(rate, due, kBegin, 1'000'000) == 3U);
}

BOOST_AUTO_TEST_CASE(a_rest_is_worth_one_burst_however_long) {
    const RateLimit rate(5, 60 * kSecond);
    uint64_t due = 0;
    BOOST_TEST(admitted(rate, due, kBegin, 10) == 5U);
    BOOST_TEST(admitted(rate, due, kBegin + 24 * kSecond, 10) == 2U);
    BOOST_TEST(admitted(rate, due, kBegin + 10'000 * kSecond, 10) == 5U);
    BOOST_TEST(admitted(rate, due, kBegin + 10'000 * kSecond, 10) == 0U);
}

BOOST_AUTO_TEST_CASE(one_of_them_is_one_an_interval) {
    const RateLimit rate(1, kSecond);
    uint64_t due = 0;
    BOOST_TEST(admitted(rate, due, kBegin, 10) == 1U);
    BOOST_TEST(admitted(rate, due, kBegin + kSecond - 1, 10) == 0U);
    BOOST_TEST(admitted(rate, due, kBegin + kSecond, 10) == 1U);
}

BOOST_AUTO_TEST_CASE(finer_than_the_clock_is_no_limit) {
    BOOST_TEST(!RateLimit(~uint64_t{0}, kSecond).is_limited());
    BOOST_TEST(RateLimit(kSecond, kSecond).is_limited());
}

// A reload made a slow rate fast, or the word is rubbish.
BOOST_AUTO_TEST_CASE(what_another_rate_left_is_over_soon) {
    const RateLimit slow(1, 60 * kSecond), fast(20, kSecond);
    for (const uint64_t left : {kBegin + 60 * kSecond, ~uint64_t{0}}) {
        uint64_t due = left;
        std::atomic<uint64_t> shared = left;
        BOOST_TEST(!fast.admit(due, kBegin));
        BOOST_TEST(!fast.admit(shared, kBegin));
        BOOST_TEST(admitted(fast, due, kBegin + kSecond / 20, 10) == 1U);
        BOOST_TEST(fast.admit(shared, kBegin + kSecond / 20));
    }
    uint64_t due = 0;
    BOOST_TEST(admitted(fast, due, kBegin, 20) == 20U);
    BOOST_TEST(slow.admit(due, kBegin + kSecond));
}

// One that is taken in any case, as well.
BOOST_AUTO_TEST_CASE(what_another_rate_charged_is_over_soon) {
    const RateLimit slow(1, 60 * kSecond), fast(20, kSecond);
    uint64_t due = 0;
    for (int i = 0; i < 5; ++i) slow.charge(due, kBegin);
    BOOST_TEST(fast.wait_ns(fast.cut(due, kBegin), kBegin) == kSecond / 20);
    BOOST_TEST(slow.wait_ns(slow.cut(due, kBegin), kBegin) == 60 * kSecond);
    BOOST_TEST(RateLimit().wait_ns(RateLimit().cut(due, kBegin), kBegin) == 0U);
    for (uint64_t left : {due, ~uint64_t{0}}) {
        fast.charge(left, kBegin);
        BOOST_TEST(fast.wait_ns(left, kBegin) == 2 * (kSecond / 20));
    }
}

// Of two workers one has looked at the clock later: the other must not give back what that one took.
BOOST_AUTO_TEST_CASE(a_clock_that_lags_behind_another_gives_nothing_away) {
    const RateLimit rate(1'000, kSecond);
    uint64_t due = 0;
    BOOST_TEST(admitted(rate, due, kBegin, 2'000) == 1'000U);
    for (int i = 0; i < 100; ++i) {
        BOOST_TEST(admitted(rate, due, kBegin - kSecond / 100, 10) == 0U);
        BOOST_TEST(admitted(rate, due, kBegin, 10) == 0U);
    }
}

BOOST_AUTO_TEST_CASE(threads_that_share_a_word_share_the_rate) {
    const RateLimit rate(1'000, kSecond);
    std::atomic<uint64_t> due = 0;
    std::atomic<unsigned> count = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (uint64_t step = 0; step < 50'000; ++step)
                count += rate.admit(due, kBegin + step * (kSecond / 50'000)) ? 1 : 0;
        });
    }
    for (auto& thread : threads) thread.join();
    BOOST_TEST(count.load() >= 1'998U);
    BOOST_TEST(count.load() <= 2'000U);
}

BOOST_AUTO_TEST_SUITE_END()
