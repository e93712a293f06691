#include "daemon/slot/chunk_pool.h"

#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <fstream>
#include <set>

namespace tcpd::slot {

namespace {
struct Pool {
    Pool()
        : fds(std::move(*SlotMemory::create({0, 100}))),
          memory(std::move(*SlotMemory::map(fds.board.get(), fds.buffers.get()))),
          counts_fd(std::move(*SharedCounts::create())),
          counts(std::move(*SharedCounts::map(counts_fd.get()))) {
        counts.slots().store(2);
    }
    int64_t blocks() const {
        struct stat status {};
        fstat(fds.buffers.get(), &status);
        return status.st_blocks * 512;
    }
    SlotFds fds;
    SlotMemory memory;
    UniqueFd counts_fd;
    SharedCounts counts;
    ChunkPool pool{memory, fds.buffers.get(), counts};
};
// Of files and shared memory.
uint64_t mapped_pages() {
    std::ifstream file("/proc/self/statm");
    uint64_t size = 0, resident = 0, shared = 0;
    file >> size >> resident >> shared;
    return shared;
}
}  // namespace

BOOST_FIXTURE_TEST_SUITE(slot_chunk_pool, Pool)

BOOST_AUTO_TEST_CASE(chunks_are_distinct_backed_and_end) {
    std::set<ChunkId> taken;
    for (int i = 0; i < 200; ++i) taken.insert(pool.take_small());
    for (int i = 0; i < 200; ++i) taken.insert(pool.take_large());
    BOOST_TEST(taken.size() == 400u);
    BOOST_TEST(!taken.contains(0));
    BOOST_TEST(pool.take_small() == 0u);
    BOOST_TEST(pool.take_large() == 0u);
    BOOST_TEST(!pool.ready());
    BOOST_TEST(blocks() >= 200 * 4096 + 200 * 65536);
}

BOOST_AUTO_TEST_CASE(what_is_freed_in_bulk_goes_back_to_the_system) {
    std::vector<ChunkId> taken;
    for (int i = 0; i < 200; ++i) taken.push_back(pool.take_large());
    for (const ChunkId id : taken) pool.release(id);
    BOOST_TEST(blocks() < 70 * 65536);
    for (int i = 0; i < 200; ++i) BOOST_TEST(pool.take_large() != 0u);
}

BOOST_AUTO_TEST_CASE(little_is_kept_beside_a_budget_for_all) {
    std::vector<ChunkId> taken;
    for (int i = 0; i < 100; ++i) taken.push_back(pool.take_large());
    for (const ChunkId id : taken) pool.release(id);
    BOOST_TEST(blocks() > 60 * 65536);
    pool.set_budgets(0, 8 << 20);
    BOOST_TEST(blocks() < 8 * 65536);
    taken.clear();
    for (int i = 0; i < 100; ++i) taken.push_back(pool.take_large());
    for (const ChunkId id : taken) pool.release(id);
    BOOST_TEST(blocks() < 8 * 65536);
    for (int i = 0; i < 200; ++i) BOOST_TEST(pool.take_large() != 0u);
}

BOOST_AUTO_TEST_CASE(without_a_number_the_total_is_the_masters_and_may_change) {
    pool.set_budgets(0, std::nullopt);
    (void)pool.take_large();
    BOOST_TEST(!pool.is_over_budget());
    counts.auto_total_bytes().store(65535);
    pool.look_at_others();
    BOOST_TEST(pool.is_over_budget());
    counts.auto_total_bytes().store(65536);
    pool.look_at_others();
    BOOST_TEST(!pool.is_over_budget());
    counts.buffer_bytes(1).store(1);
    (void)pool.take_small();
    BOOST_TEST(pool.is_over_budget());
    counts.auto_total_bytes().store(0);
    pool.look_at_others();
    BOOST_TEST(!pool.is_over_budget());
}

// The kernel picks whom to kill by it.
BOOST_AUTO_TEST_CASE(most_of_what_waits_is_not_mapped_under_a_budget_for_all) {
    pool.set_budgets(0, 64 << 20);
    const uint64_t before = mapped_pages();
    std::vector<ChunkId> taken;
    for (int i = 0; i < 160; ++i) {
        taken.push_back(pool.take_large());
        std::memset(pool.data(taken.back()), i, kLargeChunkBytes);
    }
    BOOST_TEST(mapped_pages() < before + 60 * kLargeChunkBytes / 4096);
    for (int i = 0; i < 160; ++i) {
        const char* data = pool.data(taken[static_cast<size_t>(i)]);
        BOOST_TEST((data[0] == static_cast<char>(i) && data[kLargeChunkBytes - 1] == static_cast<char>(i)));
    }
}

// Many chunks may be taken between two looks at the clock.
BOOST_AUTO_TEST_CASE(what_others_took_counts_at_the_next_chunk) {
    pool.set_budgets(0, 200'000);
    counts.buffer_bytes(1).store(140'000);
    BOOST_TEST(!pool.is_over_budget());
    (void)pool.take_large();
    BOOST_TEST(pool.is_over_budget());
}

BOOST_AUTO_TEST_CASE(what_is_in_use_is_held_against_both_budgets) {
    const ChunkId small = pool.take_small();
    (void)pool.take_large();
    BOOST_TEST(pool.used_bytes() == 4096u + 65536u);
    BOOST_TEST(!pool.is_over_budget());
    pool.set_budgets(4096 + 65536, 0);
    BOOST_TEST(!pool.is_over_budget());
    (void)pool.take_small();
    BOOST_TEST(pool.is_over_budget());
    pool.release(small);
    BOOST_TEST(!pool.is_over_budget());
    pool.set_budgets(0, 200'000);
    BOOST_TEST(!pool.is_over_budget());
    counts.buffer_bytes(1).store(140'000);
    pool.look_at_others();
    BOOST_TEST(pool.is_over_budget());
    counts.buffer_bytes(1).store(0);
    pool.look_at_others();
    BOOST_TEST(!pool.is_over_budget());
}

BOOST_AUTO_TEST_CASE(a_successor_finds_free_what_no_chain_names) {
    std::vector<ChunkId> taken;
    for (int i = 0; i < 10; ++i) taken.push_back(pool.take_small());
    ChunkPool successor(memory, fds.buffers.get(), counts);
    BOOST_TEST(successor.mark_used(taken[3]));
    BOOST_TEST(!successor.mark_used(taken[3]));
    successor.rebuild();
    BOOST_TEST(successor.used_bytes() == 4096u);
    std::set<ChunkId> again;
    for (int i = 0; i < 99; ++i) again.insert(successor.take_small());
    BOOST_TEST(again.size() == 99u);
    BOOST_TEST(!again.contains(taken[3]));
    BOOST_TEST(!again.contains(0));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::slot
