#include "daemon/slot/address_counts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <map>
#include <random>
#include <thread>

using namespace tcpd;
using slot::AddressCounts;

namespace {

constexpr uint32_t kMost = 4'096;

// Tables of 8,192 entries at most, a page of 256 at least.
struct Tables {
    Tables() : fd(std::move(*AddressCounts::create(kMost))), own(map()) {
        own.begin_table(0, 0);
        own.publish_table();
    }
    AddressCounts map() const { return std::move(*AddressCounts::map(fd.get())); }
    uint64_t pages() const {
        struct stat status {};
        ::fstat(fd.get(), &status);
        return static_cast<uint64_t>(status.st_blocks) * 512 / slot::kPageBytes;
    }
    UniqueFd fd;
    AddressCounts own;
};

using Bytes = std::array<uint8_t, 16>;

Bytes v6(const char* text) {
    Bytes bytes{};
    BOOST_REQUIRE(::inet_pton(AF_INET6, text, bytes.data()) == 1);
    return bytes;
}

Bytes v4(const char* text) {
    Bytes bytes{};
    BOOST_REQUIRE(::inet_pton(AF_INET, text, bytes.data()) == 1);
    return bytes;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(address_counts, Tables)

BOOST_AUTO_TEST_CASE(a_v6_address_counts_by_its_64_and_a_v4_address_in_either_form) {
    const auto of_v6 = [&](const char* text) { return own.key_of(3, 6, v6(text).data()); };
    const auto of_v4 = [&](const char* text) { return own.key_of(3, 4, v4(text).data()); };
    BOOST_TEST(of_v6("2001:db8::1") == of_v6("2001:db8::ffff:ffff:ffff:ffff"));
    BOOST_TEST(of_v6("2001:db8::1") != of_v6("2001:db8:0:1::1"));
    BOOST_TEST(of_v6("::1") == of_v6("::2"));
    BOOST_TEST(of_v6("::ffff:10.0.0.1") == of_v4("10.0.0.1"));
    BOOST_TEST(of_v6("::ffff:10.0.0.1") != of_v6("::ffff:10.0.0.2"));
    BOOST_TEST(of_v4("10.0.0.1") != of_v4("10.0.0.2"));
    BOOST_TEST(of_v4("10.0.0.1") != own.key_of(4, 4, v4("10.0.0.1").data()));
}

BOOST_AUTO_TEST_CASE(two_memories_have_two_keys) {
    const Tables other;
    BOOST_TEST(own.key_of(0, 4, v4("10.0.0.1").data()) != other.own.key_of(0, 4, v4("10.0.0.1").data()));
}

BOOST_AUTO_TEST_CASE(who_has_no_address_is_not_counted) {
    const uint64_t key = own.key_of(0, 0, Bytes{}.data());
    BOOST_TEST(own.add(key));
    BOOST_TEST(own.total(key, slot::kMaxSlots) == 0U);
    own.remove(key);
}

BOOST_AUTO_TEST_CASE(the_total_is_that_of_the_first_slots) {
    AddressCounts second = map(), reader = map();
    second.begin_table(1, 0);
    second.publish_table();
    for (int i = 0; i < 3; ++i) BOOST_REQUIRE(own.add(77));
    for (int i = 0; i < 4; ++i) BOOST_REQUIRE(second.add(77));
    BOOST_TEST(reader.total(77, 1) == 3U);
    BOOST_TEST(reader.total(77, 2) == 7U);
    BOOST_TEST(reader.total(77, slot::kMaxSlots + 10) == 7U);
    BOOST_TEST(reader.total(78, 2) == 0U);
    second.remove(77);
    BOOST_TEST(reader.total(77, 2) == 6U);
}

BOOST_AUTO_TEST_CASE(random_steps_are_those_of_a_map) {
    std::mt19937_64 random(11);
    const AddressCounts reader = map();
    std::map<uint64_t, uint64_t> expected;
    uint64_t held = 0;
    for (int step = 0; step < 200'000; ++step) {
        // Few low bits, so that runs are long and meet; half of them at the table's very end.
        const uint64_t key = (random() % 6 + 1) << 32 | (random() % 2 == 0 ? 8'190 : random() % 64);
        if (random() % 5 < 3 && held < kMost) {
            BOOST_REQUIRE(own.add(key));
            ++expected[key];
            ++held;
        } else if (const auto at = expected.lower_bound(key); at != expected.end()) {
            own.remove(at->first);
            --held;
            if (--at->second == 0) expected.erase(at);
        }
        if (step % 1'000 != 0) continue;
        for (const auto& [one, count] : expected) BOOST_REQUIRE(reader.total(one, 1) == count);
    }
    while (!expected.empty()) {
        const auto [key, count] = *expected.begin();
        for (uint64_t i = 0; i < count; ++i) own.remove(key);
        BOOST_REQUIRE(reader.total(key, 1) == 0U);
        expected.erase(expected.begin());
    }
}

BOOST_AUTO_TEST_CASE(a_look_goes_on_behind_what_was_removed) {
    const uint64_t keys[] = {0x100000007, 0x200000007, 0x300000007, 0x400000008, 0x500000007};
    for (const uint64_t key : keys) BOOST_REQUIRE(own.add(key));
    own.remove(keys[0]);
    for (const uint64_t key : {keys[1], keys[2], keys[3], keys[4]}) BOOST_TEST(own.total(key, 1) == 1U);
    own.remove(keys[2]);
    for (const uint64_t key : {keys[1], keys[3], keys[4]}) BOOST_TEST(own.total(key, 1) == 1U);
    BOOST_TEST(own.total(keys[0], 1) + own.total(keys[2], 1) == 0U);
}

BOOST_AUTO_TEST_CASE(it_has_room_for_all_that_a_slot_can_hold_and_grows_to_it) {
    std::mt19937_64 random(5);
    std::vector<uint64_t> keys;
    const uint64_t before = pages();
    for (uint32_t i = 0; i < kMost; ++i) {
        keys.push_back(random());
        BOOST_REQUIRE(own.add(keys.back()));
    }
    for (const uint64_t key : keys) BOOST_REQUIRE(own.total(key, 1) == 1U);
    BOOST_TEST(pages() <= before + 32U);
}

BOOST_AUTO_TEST_CASE(a_full_table_says_so_and_still_counts_what_it_has) {
    std::mt19937_64 random(6);
    std::vector<uint64_t> keys;
    uint64_t key = random();
    for (; own.add(key); key = random()) keys.push_back(key);
    BOOST_TEST(keys.size() >= kMost);
    BOOST_TEST(own.total(key, 1) == 0U);
    own.remove(key);
    for (const uint64_t one : keys) BOOST_REQUIRE(own.total(one, 1) == 1U);
    for (const uint64_t one : keys) own.remove(one);
    for (const uint64_t one : keys) BOOST_REQUIRE(own.total(one, 1) == 0U);
    BOOST_TEST(own.add(key));
}

BOOST_AUTO_TEST_CASE(the_table_before_stands_until_the_new_one_is_published) {
    own.add(77);
    own.add(78);
    const AddressCounts reader = map();
    AddressCounts successor = map();
    successor.begin_table(0, 2);
    successor.add(77);
    BOOST_TEST(reader.total(77, 1) == 1U);
    BOOST_TEST(reader.total(78, 1) == 1U);
    successor.publish_table();
    BOOST_TEST(reader.total(77, 1) == 1U);
    BOOST_TEST(reader.total(78, 1) == 0U);
    successor.add(77);
    BOOST_TEST(reader.total(77, 1) == 2U);
}

// Each died while it filled its table, or wrote into the one that stands.
BOOST_AUTO_TEST_CASE(what_the_dead_left_is_not_counted) {
    for (uint64_t round = 0; round < 5; ++round) {
        AddressCounts dying = map();
        dying.begin_table(0, 100);
        for (uint64_t key = 1; key < 100; ++key) dying.add(key * 1'000 + round);
    }
    AddressCounts last = map();
    last.begin_table(0, 100);
    last.add(5'000);
    last.publish_table();
    for (uint64_t key = 1; key < 100; ++key) {
        for (uint64_t round = 0; round < 5; ++round) {
            const uint64_t one = key * 1'000 + round;
            BOOST_REQUIRE(last.total(one, 1) == (one == 5'000 ? 1U : 0U));
        }
    }
}

BOOST_AUTO_TEST_CASE(more_than_expected_is_counted_all_the_same) {
    AddressCounts successor = map();
    successor.begin_table(0, 1);
    for (uint64_t key = 1; key <= 2'000; ++key) BOOST_REQUIRE(successor.add(key));
    successor.publish_table();
    const AddressCounts reader = map();
    for (uint64_t key = 1; key <= 2'000; ++key) BOOST_REQUIRE(reader.total(key, 1) == 1U);
}

BOOST_AUTO_TEST_CASE(a_dropped_table_is_empty_and_its_pages_are_given_back) {
    Tables fresh;
    AddressCounts reader = fresh.map();
    for (uint64_t key = 1; key <= kMost; ++key) BOOST_REQUIRE(fresh.own.add(key << 20 | key));
    BOOST_TEST(fresh.pages() > 16U);
    AddressCounts master = fresh.map();
    master.drop_table(0);
    BOOST_TEST(reader.total(1 << 20 | 1, 1) == 0U);
    BOOST_TEST(fresh.pages() == 1U);
}

BOOST_AUTO_TEST_CASE(unused_it_is_one_page) {
    const UniqueFd fresh = std::move(*AddressCounts::create(1'048'576));
    AddressCounts counts = std::move(*AddressCounts::map(fresh.get()));
    counts.drop_table(0);
    BOOST_TEST(counts.total(77, 64) == 0U);
    struct stat status {};
    ::fstat(fresh.get(), &status);
    BOOST_TEST(status.st_blocks * 512 == slot::kPageBytes);
}

BOOST_AUTO_TEST_CASE(a_reader_of_a_table_in_change_comes_back) {
    std::atomic<bool> over = false;
    std::atomic<uint64_t> looks = 0, wrong = 0;
    own.add(~uint64_t{0});
    std::thread reading([&] {
        const AddressCounts reader = map();
        while (!over) {
            for (uint64_t key = 1; key < 300; ++key) {
                if (reader.total(key << 40 | key % 16, 2) > 1'000'000) ++wrong;
            }
            ++looks;
        }
    });
    std::mt19937_64 random(3);
    for (int round = 0; round < 40 || looks < 50; ++round) {
        for (uint64_t key = 1; key < 300; ++key) own.add(key << 40 | key % 16);
        for (int i = 0; i < 1'000; ++i) own.add(random() | 1);
        own.begin_table(0, 10);
        for (uint64_t key = 1; key < 300; ++key) own.add(key << 40 | key % 16);
        own.publish_table();
        for (uint64_t key = 1; key < 300; ++key) own.remove(key << 40 | key % 16);
    }
    over = true;
    reading.join();
    BOOST_TEST(wrong.load() == 0U);
    for (uint64_t key = 1; key < 300; ++key) BOOST_REQUIRE(own.total(key << 40 | key % 16, 2) == 0U);
}

BOOST_AUTO_TEST_CASE(hostile_contents_lead_nowhere) {
    std::mt19937_64 random(9);
    struct stat status {};
    ::fstat(fd.get(), &status);
    const auto bytes = static_cast<size_t>(status.st_size);
    auto* raw =
        static_cast<uint64_t*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    BOOST_REQUIRE(raw != MAP_FAILED);
    AddressCounts reader = map();
    own.begin_table(0, kMost);
    own.publish_table();
    const size_t words = (slot::kPageBytes + size_t{16} * 8'192 * 2 * 4) / sizeof *raw;
    for (int round = 0; round < 20; ++round) {
        for (size_t i = 4; i < words; ++i) raw[i] = random() % 3 == 0 ? random() : random() % 64;
        for (int i = 0; i < 200; ++i) {
            const uint64_t key = random();
            (void)reader.total(key, slot::kMaxSlots);
            (void)own.add(key);
            own.remove(random() % 2 == 0 ? key : random() % 64);
        }
    }
    own.begin_table(0, 10);
    own.add(77);
    own.publish_table();
    BOOST_TEST(reader.total(77, 1) == 1U);
    ::munmap(raw, bytes);
}

BOOST_AUTO_TEST_CASE(nobody_can_shrink_it) {
    BOOST_TEST(::ftruncate(fd.get(), 4'096) == -1);
    BOOST_TEST((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

BOOST_AUTO_TEST_CASE(what_is_not_such_a_file_is_refused) {
    const auto is_refused = [](const UniqueFd& file) {
        auto mapped = AddressCounts::map(file.get());
        return !mapped && mapped.error().code == ErrorCode::bad_format;
    };
    UniqueFd other(::memfd_create("other", MFD_CLOEXEC));
    BOOST_TEST(is_refused(other));
    BOOST_REQUIRE(::ftruncate(other.get(), 1 << 20) == 0);
    BOOST_TEST(is_refused(other));
    std::array<char, 2'048> head{};
    BOOST_REQUIRE(::pread(fd.get(), head.data(), head.size(), 0) == static_cast<ssize_t>(head.size()));
    BOOST_REQUIRE(::pwrite(other.get(), head.data(), head.size(), 0) == static_cast<ssize_t>(head.size()));
    BOOST_TEST(is_refused(other));  // its size is another
    struct stat status {};
    ::fstat(fd.get(), &status);
    BOOST_REQUIRE(::ftruncate(other.get(), status.st_size) == 0);
    BOOST_TEST(!is_refused(other));
    head[8] = static_cast<char>(head[8] + 1);
    BOOST_REQUIRE(::pwrite(other.get(), head.data(), head.size(), 0) == static_cast<ssize_t>(head.size()));
    BOOST_TEST(is_refused(other));
}

BOOST_AUTO_TEST_SUITE_END()
