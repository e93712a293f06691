#include "daemon/base/log/line_limit.h"

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

using namespace tcpd::log;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

}  // namespace

BOOST_AUTO_TEST_SUITE(line_limit)

BOOST_AUTO_TEST_CASE(one_line_in_five_seconds_and_the_next_counts_the_rest) {
    LineLimit limit;
    BOOST_TEST(limit.on_line("accept", 100 * kSecond).may_write);
    for (int i = 0; i < 12; ++i) BOOST_TEST(!limit.on_line("accept", 101 * kSecond).may_write);
    BOOST_TEST(!limit.on_line("accept", 105 * kSecond - 1).may_write);
    LineLimit::Verdict next = limit.on_line("accept", 141 * kSecond);
    BOOST_TEST(next.may_write);
    BOOST_TEST(next.left_out == 13U);
    BOOST_TEST(next.quiet_ns == 41 * kSecond);
    BOOST_TEST(describe_left_out(next) == " (13 more like this in 41s)");
    LineLimit::Verdict after = limit.on_line("accept", 146 * kSecond);
    BOOST_TEST(after.may_write);
    BOOST_TEST(describe_left_out(after) == "");
}

BOOST_AUTO_TEST_CASE(the_first_line_passes_right_after_boot) {
    LineLimit limit;
    BOOST_TEST(limit.on_line("accept", 1).may_write);
    BOOST_TEST(!limit.on_line("accept", 2).may_write);
}

BOOST_AUTO_TEST_CASE(kinds_do_not_limit_each_other) {
    LineLimit limit;
    BOOST_TEST(limit.on_line("accept", kSecond).may_write);
    BOOST_TEST(limit.on_line("dial", kSecond).may_write);
    BOOST_TEST(!limit.on_line("accept", kSecond).may_write);
}

BOOST_AUTO_TEST_CASE(nor_do_those_of_two_owners) {
    LineLimit limit;
    BOOST_TEST(limit.on_line({"refused", 1}, kSecond).may_write);
    BOOST_TEST(!limit.on_line({"refused", 1}, kSecond).may_write);
    BOOST_TEST(limit.on_line({"refused", 2}, kSecond).may_write);
    const LineLimit::Verdict next = limit.on_line({"refused", 1}, 10 * kSecond);
    BOOST_TEST(next.left_out == 1U);
}

BOOST_AUTO_TEST_CASE(equal_literals_of_two_files_are_one_kind) {
    LineLimit limit;
    std::string twin = "accept";
    BOOST_TEST(limit.on_line("accept", kSecond).may_write);
    BOOST_TEST(!limit.on_line(twin.c_str(), kSecond).may_write);
}

BOOST_AUTO_TEST_CASE(more_kinds_than_fit_push_out_the_oldest) {
    LineLimit limit;
    std::vector<std::string> keys;
    for (size_t i = 0; i < kMostKinds; ++i) keys.push_back("kind " + std::to_string(i));
    for (size_t i = 0; i < kMostKinds; ++i) BOOST_TEST(limit.on_line(keys[i].c_str(), i + 1).may_write);
    BOOST_TEST(limit.on_line("one more", 1000).may_write);
    BOOST_TEST(!limit.on_line(keys[1].c_str(), 1001).may_write);
    BOOST_TEST(limit.on_line(keys[0].c_str(), 1002).may_write);
}

BOOST_AUTO_TEST_SUITE_END()
