#include "daemon/slot/journal.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

namespace tcpd::slot {

namespace {
SlotMemory small_memory() {
    auto fd = SlotMemory::create({3, 64});
    BOOST_REQUIRE(fd);
    auto memory = SlotMemory::map(fd->get(), SlotMemory::Access::worker);
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
    Journal::Redo redo(journal);
    redo.set(&memory.records()[5].received, 11);
    redo.set(&memory.records()[6].sent, 22);
    redo.commit({Phase::accepting, 7});
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
    page.redo[1] = {memory.offset_of(&memory.scoreboard().stale_events), 3};
    page.word.store(JournalWord{Phase::redo, 2}.pack());
    BOOST_TEST(journal.reapply());
    BOOST_TEST(memory.records()[5].received == 100u);
    BOOST_TEST(memory.scoreboard().stale_events == 3u);
    BOOST_TEST((journal.word().phase == Phase::idle));
}

BOOST_AUTO_TEST_CASE(a_redo_log_that_points_elsewhere_changes_nothing) {
    SlotMemory memory = small_memory();
    Journal journal(memory);
    JournalPage& page = memory.journal();
    const Header& h = memory.header();
    for (const uint64_t bad : {uint64_t{0}, h.records_at + 4, h.records_at + 64 * sizeof(Record),
                               h.master_control_at, memory.bytes() - 8, ~uint64_t{0} - 7}) {
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

BOOST_AUTO_TEST_SUITE(slot_memory)

BOOST_AUTO_TEST_CASE(it_takes_no_page_until_it_is_used) {
    auto fd = SlotMemory::create({0, 1'048'576});
    BOOST_REQUIRE(fd);
    auto memory = SlotMemory::map(fd->get(), SlotMemory::Access::worker);
    BOOST_REQUIRE(memory);
    struct stat status {};
    fstat(fd->get(), &status);
    BOOST_TEST(status.st_blocks * 512 <= 4096);
    memory->records()[1'000'000].id = 1;
    fstat(fd->get(), &status);
    BOOST_TEST(status.st_blocks * 512 <= 2 * 4096);
}

BOOST_AUTO_TEST_CASE(it_is_sealed_and_another_release_is_refused_by_name) {
    auto fd = SlotMemory::create({3, 64});
    BOOST_REQUIRE(fd);
    BOOST_TEST(ftruncate(fd->get(), 4096) == -1);
    const uint32_t format = kFormat + 1;
    BOOST_TEST(pwrite(fd->get(), &format, 4, offsetof(Header, format)) == 4);
    auto memory = SlotMemory::map(fd->get(), SlotMemory::Access::worker);
    BOOST_REQUIRE(!memory);
    BOOST_TEST(memory.error().text().find(fmt::format("its format is {}, this tcpd knows {}", format,
                                                      kFormat)) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_header_with_any_field_changed_is_refused) {
    for (size_t at = 0; at < offsetof(Header, log_ring_bytes) + 8; at += 4) {
        if (at == offsetof(Header, slot_number)) continue;  // any other slot's is as good
        auto fd = SlotMemory::create({3, 64});
        BOOST_REQUIRE(fd);
        uint32_t value = 0;
        BOOST_REQUIRE(pread(fd->get(), &value, 4, static_cast<off_t>(at)) == 4);
        value ^= 0x00010000;
        BOOST_REQUIRE(pwrite(fd->get(), &value, 4, static_cast<off_t>(at)) == 4);
        BOOST_TEST(!SlotMemory::map(fd->get(), SlotMemory::Access::master), "field at " << at);
    }
}

BOOST_AUTO_TEST_CASE(the_master_writes_its_own_part_only) {
    auto fd = SlotMemory::create({3, 64});
    BOOST_REQUIRE(fd);
    auto worker = SlotMemory::map(fd->get(), SlotMemory::Access::worker);
    auto master = SlotMemory::map(fd->get(), SlotMemory::Access::master);
    BOOST_REQUIRE(worker);
    BOOST_REQUIRE(master);
    master->master_control().word.store(42);
    BOOST_TEST(worker->master_control().word.load() == 42u);
    // What may not be written the kernel refuses to write as well: read(2) into it gives EFAULT.
    int ends[2];
    BOOST_REQUIRE(pipe(ends) == 0);
    BOOST_REQUIRE(write(ends[1], "x", 1) == 1);
    BOOST_TEST(read(ends[0], master->records(), 1) == -1);
    close(ends[0]);
    close(ends[1]);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::slot
