#include "daemon/slot/changes.h"

#include <signal.h>

#include <boost/test/unit_test.hpp>

#include "daemon/slot/journal.h"
#include "tests/unit/in_child.h"

namespace tcpd::slot {

namespace {

struct Slot {
    SlotFds fds = std::move(*SlotMemory::create({3, 64}));
    SlotMemory memory = std::move(*SlotMemory::map(fds.board.get(), fds.buffers.get()));
    Record& record(int fd) { return memory.records()[fd]; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(slot_changes)

BOOST_AUTO_TEST_CASE(what_is_pending_is_read_before_it_is_in_force) {
    Slot slot;
    slot.record(5).received = 1;
    Changes changes(slot.memory);
    BOOST_TEST(changes.get(&slot.record(5).received) == 1u);
    BOOST_TEST(!changes.has(&slot.record(5).received));
    changes.set(&slot.record(5).received, 2);
    changes.set(&slot.record(5).received, 3);
    BOOST_TEST(changes.get(&slot.record(5).received) == 3u);
    BOOST_TEST(changes.has(&slot.record(5).received));
    BOOST_TEST(slot.record(5).received == 1u);
    Journal(slot.memory).commit(changes);
    BOOST_TEST(slot.record(5).received == 3u);
}

// Two parts of one step that each edit a word keep each other's edit, and bits that neither knows.
BOOST_AUTO_TEST_CASE(edits_of_one_word_add_up) {
    Slot slot;
    constexpr uint64_t kUnknown = uint64_t{0x4000} << 16;
    slot.record(5).word = kUnknown;
    Changes changes(slot.memory);
    changes.change<RecordWord>(&slot.record(5).word, [](auto& word) { word.flags |= kEndIn; });
    changes.change<RecordWord>(&slot.record(5).word, [](auto& word) { word.reason = 7; });
    Journal(slot.memory).commit(changes);
    const RecordWord word = RecordWord::unpack(slot.record(5).word);
    BOOST_TEST((word.flags & kEndIn) != 0);
    BOOST_TEST(word.reason == 7);
    BOOST_TEST((slot.record(5).word & kUnknown) == kUnknown);
}

BOOST_AUTO_TEST_CASE(more_than_there_is_room_for_ends_the_process_and_changes_nothing) {
    Slot slot;
    const auto fill = [&slot](uint32_t count) {
        ::signal(SIGABRT, SIG_DFL);  // the test program catches it
        Changes changes(slot.memory);
        for (uint32_t i = 0; i < count; ++i) changes.set(&slot.record(5).received, i);
        return changes.count() == count;
    };
    BOOST_TEST(test::holds_in_child([&] { return fill(kMaxRedo); }));
    BOOST_TEST(!test::holds_in_child([&] { return fill(kMaxRedo + 1); }));
    BOOST_TEST(slot.record(5).received == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::slot
