#include "daemon/slot/journal.h"

#include <boost/test/unit_test.hpp>

namespace tcpd::slot {

namespace {
SlotMemory small_memory() {
    auto fds = SlotMemory::create({3, 64});
    BOOST_REQUIRE(fds);
    auto memory = SlotMemory::map(fds->board.get(), fds->buffers.get());
    BOOST_REQUIRE(memory);
    return std::move(*memory);
}
}  // namespace

BOOST_AUTO_TEST_SUITE(slot_journal)

BOOST_AUTO_TEST_CASE(a_word_carries_phase_and_count) {
    const JournalWord word{Phase::sending, 65536};
    const JournalWord back = JournalWord::unpack(word.pack());
    BOOST_TEST((back.phase == Phase::sending));
    BOOST_TEST(back.count == 65536u);
    BOOST_TEST(JournalWord{}.pack() == 0u);
}

BOOST_AUTO_TEST_CASE(commit_changes_every_word_and_leaves_what_it_was_told) {
    SlotMemory memory = small_memory();
    Journal journal(memory);
    Changes changes(memory);
    changes.set(&memory.records()[5].received, 11);
    changes.set(&memory.records()[6].sent, 22);
    journal.commit(changes, {Phase::accepting, 7});
    BOOST_TEST(memory.records()[5].received == 11u);
    BOOST_TEST(memory.records()[6].sent == 22u);
    BOOST_TEST((journal.word().phase == Phase::accepting));
    BOOST_TEST(journal.word().count == 7u);
}

BOOST_AUTO_TEST_CASE(a_published_redo_log_is_applied_again_as_it_stands) {
    SlotMemory memory = small_memory();
    Journal journal(memory);
    JournalPage& page = memory.journal();
    page.redo[0] = {memory.offset_of(&memory.records()[5].received), 100};
    page.redo[1] = {memory.offset_of(&memory.counters().stale_events), 3};
    page.word.store(JournalWord{Phase::redo, 2}.pack());
    BOOST_TEST(journal.reapply());
    BOOST_TEST(memory.records()[5].received == 100u);
    BOOST_TEST(memory.counters().stale_events == 3u);
    BOOST_TEST((journal.word().phase == Phase::idle));
}

BOOST_AUTO_TEST_CASE(a_redo_log_that_points_elsewhere_changes_nothing) {
    SlotMemory memory = small_memory();
    Journal journal(memory);
    JournalPage& page = memory.journal();
    const uint64_t records = memory.offset_of(memory.records());
    for (const uint64_t bad :
         {uint64_t{0}, records + 4, records + 64 * sizeof(Record), memory.offset_of(&memory.master_control()),
          memory.offset_of(memory.small_chunks()), memory.bytes() - 8, ~uint64_t{0} - 7}) {
        page.redo[0] = {memory.offset_of(&memory.records()[5].received), 100};
        page.redo[1] = {bad, 1};
        page.word.store(JournalWord{Phase::redo, 2}.pack());
        BOOST_TEST(!journal.reapply());
        BOOST_TEST(memory.records()[5].received == 0u);
    }
    page.word.store(JournalWord{Phase::redo, kMaxRedo + 1}.pack());
    BOOST_TEST(!journal.reapply());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::slot
