#include "daemon/slot/quarantine.h"

#include <boost/test/unit_test.hpp>
#include <memory>

namespace tcpd::slot {

namespace {
struct Shared {
    std::unique_ptr<std::atomic<uint64_t>[]> words =
        std::make_unique<std::atomic<uint64_t>[]>(Quarantine::kBytes / sizeof(uint64_t));
    Quarantine quarantine{words.get()};
};
}  // namespace

BOOST_FIXTURE_TEST_SUITE(slot_quarantine, Shared)

BOOST_AUTO_TEST_CASE(three_within_ten_minutes_are_too_many) {
    BOOST_TEST(!quarantine.note(7, 1000));
    BOOST_TEST(!quarantine.note(7, 2000));
    BOOST_TEST(!quarantine.refuses(7, 2001));
    BOOST_TEST(quarantine.note(7, 3000));
    BOOST_TEST(quarantine.refuses(7, 3001));
    BOOST_TEST(!quarantine.refuses(8, 3001));
    BOOST_TEST(quarantine.refuses(7, 3000 + Quarantine::kWindow - 1));
    BOOST_TEST(!quarantine.refuses(7, 3000 + Quarantine::kWindow));
}

BOOST_AUTO_TEST_CASE(what_is_long_ago_does_not_count) {
    BOOST_TEST(!quarantine.note(7, 0));
    BOOST_TEST(!quarantine.note(7, Quarantine::kWindow));
    BOOST_TEST(!quarantine.note(7, 2 * Quarantine::kWindow));
    BOOST_TEST(!quarantine.refuses(7, 2 * Quarantine::kWindow));
}

BOOST_AUTO_TEST_CASE(the_oldest_makes_room) {
    for (uint64_t key = 1; key <= Quarantine::kEntries; ++key) {
        for (Tick i = 0; i < 3; ++i) quarantine.note(key, static_cast<Tick>(10 * key) + i);
    }
    BOOST_TEST(quarantine.refuses(1, 2000));
    quarantine.note(1000, 2000);
    BOOST_TEST(!quarantine.refuses(1, 2000));
    for (uint64_t key = 2; key <= Quarantine::kEntries; ++key) BOOST_TEST(quarantine.refuses(key, 2000));
}

BOOST_AUTO_TEST_CASE(ticks_wrap) {
    for (Tick i = 0; i < 3; ++i) quarantine.note(7, ~Tick{0} - 1 + i);
    BOOST_TEST(quarantine.refuses(7, 100));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::slot
