#include "daemon/slot/shared_counts.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <boost/test/unit_test.hpp>

using namespace tcpd;
using slot::SharedCounts;

BOOST_AUTO_TEST_SUITE(shared_counts)

BOOST_AUTO_TEST_CASE(two_mappings_see_each_other) {
    auto fd = SharedCounts::create();
    BOOST_REQUIRE(fd);
    auto one = SharedCounts::map(fd->get());
    auto other = SharedCounts::map(fd->get());
    BOOST_REQUIRE(one && other);
    one->open(3, 0) = 5;
    one->open(3, 1) = 7;
    one->open(4, 0) = 100;
    one->open(3, slot::kMaxSlots - 1) = 11;
    BOOST_TEST(other->open(3, 1).load() == 7U);
    BOOST_TEST(other->total(3, 2) == 12U);
    BOOST_TEST(other->total(3, slot::kMaxSlots) == 23U);
    BOOST_TEST(other->total(5, slot::kMaxSlots) == 0U);
}

BOOST_AUTO_TEST_CASE(the_last_cell_lies_inside) {
    auto fd = SharedCounts::create();
    BOOST_REQUIRE(fd);
    auto counts = SharedCounts::map(fd->get());
    BOOST_REQUIRE(counts);
    counts->open(slot::kMaxListeners - 1, slot::kMaxSlots - 1) = 1;
    BOOST_TEST(counts->total(slot::kMaxListeners - 1, slot::kMaxSlots) == 1U);
}

BOOST_AUTO_TEST_CASE(a_sum_stops_at_the_last_column) {
    auto fd = SharedCounts::create();
    BOOST_REQUIRE(fd);
    auto counts = SharedCounts::map(fd->get());
    BOOST_REQUIRE(counts);
    counts->open(7, slot::kMaxSlots - 1) = 2;
    counts->open(8, 0) = 100;
    counts->buffer_bytes(slot::kMaxSlots - 1) = 3;
    counts->accept_due(0) = 1'000;
    counts->auto_total_bytes() = 50;
    counts->slots() = slot::kMaxSlots + 1'000;
    BOOST_TEST(counts->total(7, slot::kMaxSlots + 1) == 2U);
    BOOST_TEST(counts->total_buffer_bytes() == 3U);
}

BOOST_AUTO_TEST_CASE(the_words_of_all_slots_lie_inside_and_apart) {
    auto fd = SharedCounts::create();
    BOOST_REQUIRE(fd);
    auto counts = SharedCounts::map(fd->get());
    BOOST_REQUIRE(counts);
    counts->slots() = 1;
    for (uint32_t slot = 0; slot < slot::kMaxSlots; ++slot) counts->steered(slot) = 1'000 + slot;
    for (uint32_t slot = 0; slot < slot::kMaxSlots; ++slot) counts->in_service(slot) = 5'000 + slot;
    for (uint32_t id = 0; id < slot::kMaxListeners; ++id) counts->accept_due(id) = ~uint64_t{id};
    BOOST_TEST(counts->slots().load() == 1U);
    for (uint32_t slot = 0; slot < slot::kMaxSlots; ++slot)
        BOOST_TEST(counts->steered(slot).load() == 1'000 + slot);
    for (uint32_t slot = 0; slot < slot::kMaxSlots; ++slot)
        BOOST_TEST(counts->in_service(slot).load() == 5'000 + slot);
    BOOST_TEST(!counts->quarantine().is_used());
    for (uint32_t id = 0; id < slot::kMaxListeners; ++id)
        BOOST_TEST(counts->accept_due(id).load() == ~uint64_t{id});
    for (uint32_t id = 0; id < slot::kMaxListeners; ++id)
        BOOST_TEST(counts->total(id, slot::kMaxSlots) == 0U);
}

BOOST_AUTO_TEST_CASE(a_mapping_outlives_a_move) {
    auto fd = SharedCounts::create();
    BOOST_REQUIRE(fd);
    auto mapped = SharedCounts::map(fd->get());
    BOOST_REQUIRE(mapped);
    SharedCounts moved(std::move(*mapped));
    moved.open(0, 0) = 9;
    BOOST_TEST(moved.total(0, 1) == 9U);
}

BOOST_AUTO_TEST_CASE(nobody_can_shrink_it) {
    auto fd = SharedCounts::create();
    BOOST_REQUIRE(fd);
    BOOST_TEST(::ftruncate(fd->get(), 4096) == -1);
    BOOST_TEST((::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC) != 0);
}

BOOST_AUTO_TEST_CASE(a_file_of_another_size_is_refused) {
    UniqueFd fd(::memfd_create("short", MFD_CLOEXEC));
    BOOST_REQUIRE(::ftruncate(fd.get(), 4096) == 0);
    auto mapped = SharedCounts::map(fd.get());
    BOOST_REQUIRE(!mapped);
    BOOST_TEST((mapped.error().code == ErrorCode::bad_format));
}

BOOST_AUTO_TEST_SUITE_END()
