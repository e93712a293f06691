#include "daemon/slot/slot_memory.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

namespace tcpd::slot {

namespace {

struct Slot {
    SlotFds fds;
    explicit Slot(uint32_t records = 64, uint32_t number = 3) {
        auto made = SlotMemory::create({number, records});
        BOOST_REQUIRE(made);
        fds = std::move(*made);
    }
    Result<SlotMemory> map() const { return SlotMemory::map(fds.board.get(), fds.buffers.get()); }
    Result<SlotMemory> map_board() const { return SlotMemory::map_board(fds.board.get()); }
    PartsHeader header() const {
        PartsHeader header;
        BOOST_REQUIRE(pread(fds.board.get(), &header, sizeof header, 0) == sizeof header);
        return header;
    }
    void write(const PartsHeader& header) const {
        BOOST_REQUIRE(pwrite(fds.board.get(), &header, sizeof header, 0) == sizeof header);
    }
};

int64_t taken_bytes(int fd) {
    struct stat status {};
    fstat(fd, &status);
    return status.st_blocks * 512;
}

std::string fault_of(const Slot& slot) {
    auto memory = slot.map_board();
    return memory ? "" : memory.error().text();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(slot_memory)

BOOST_AUTO_TEST_CASE(it_takes_no_page_until_it_is_used) {
    const Slot slot(1'048'576);
    auto memory = slot.map();
    BOOST_REQUIRE(memory);
    BOOST_TEST(taken_bytes(slot.fds.board.get()) <= kPageBytes);
    memory->records()[1'000'000].id = 1;
    BOOST_TEST(taken_bytes(slot.fds.board.get()) <= 2 * kPageBytes);
    memory->small_chunks()[5] = 1;
    BOOST_TEST(taken_bytes(slot.fds.buffers.get()) <= 2 * kPageBytes);
}

BOOST_AUTO_TEST_CASE(it_is_sealed_and_another_format_is_refused_by_name) {
    const Slot slot;
    BOOST_TEST(ftruncate(slot.fds.board.get(), 4096) == -1);
    BOOST_TEST(ftruncate(slot.fds.buffers.get(), 4096) == -1);
    PartsHeader header = slot.header();
    header.format = kFormat + 1;
    slot.write(header);
    BOOST_TEST(fault_of(slot).find(fmt::format("its format is {}, this tcpd knows {}", kFormat + 1,
                                               kFormat)) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_directory_that_can_not_be_is_refused) {
    const auto refuses = [](auto&& spoil) {
        const Slot slot;
        PartsHeader header = slot.header();
        spoil(header);
        slot.write(header);
        return !fault_of(slot).empty();
    };
    BOOST_TEST(!refuses([](PartsHeader&) {}));
    BOOST_TEST(refuses([](PartsHeader& h) { h.magic[0] = 'X'; }));
    BOOST_TEST(refuses([](PartsHeader& h) { h.bytes += kPageBytes; }));
    BOOST_TEST(refuses([](PartsHeader& h) { h.record_count = 0; }));
    BOOST_TEST(refuses([](PartsHeader& h) { h.record_count = 65; }));
    BOOST_TEST(refuses([](PartsHeader& h) { h.slot_number = kMaxSlots; }));
    BOOST_TEST(refuses([](PartsHeader& h) { h.part_count = kMaxParts + 1; }));
    BOOST_TEST(refuses([](PartsHeader& h) { --h.part_count; }));
    for (uint32_t i = 0; i < Slot().header().part_count; ++i) {
        BOOST_TEST(refuses([i](PartsHeader& h) { h.parts[i].kind = PartKind::none; }), i);
        BOOST_TEST(refuses([i](PartsHeader& h) { h.parts[i].kind = PartKind{60}; }), i);
        BOOST_TEST(refuses([i](PartsHeader& h) { h.parts[i].kind = h.parts[i == 0 ? 1 : 0].kind; }), i);
        BOOST_TEST(refuses([i](PartsHeader& h) { h.parts[i].at += 8; }), i);
        BOOST_TEST(refuses([i](PartsHeader& h) { h.parts[i].at = i == 0 ? 0 : h.parts[i - 1].at; }), i);
        BOOST_TEST(refuses([i](PartsHeader& h) { h.parts[i].at = ~uint64_t{0} - kPageBytes + 1; }), i);
        BOOST_TEST(refuses([i](PartsHeader& h) { h.parts[i].count = ~uint64_t{0} / 8; }), i);
        BOOST_TEST(refuses([i](PartsHeader& h) { ++h.parts[i].count; }), i);
        BOOST_TEST(refuses([i](PartsHeader& h) { h.parts[i].element_bytes += 8; }), i);
    }
}

BOOST_AUTO_TEST_CASE(board_and_buffers_of_two_slots_do_not_go_together) {
    const Slot one, other(128);
    BOOST_TEST(!SlotMemory::map(one.fds.board.get(), other.fds.buffers.get()));
    BOOST_TEST(!SlotMemory::map(one.fds.board.get(), one.fds.board.get()));
    BOOST_TEST(!SlotMemory::map_board(one.fds.buffers.get()));
}

BOOST_AUTO_TEST_CASE(the_master_writes_its_own_parts_only) {
    const Slot slot;
    auto worker = slot.map();
    auto master = slot.map_board();
    BOOST_REQUIRE(worker);
    BOOST_REQUIRE(master);
    master->master_control().word.store(42);
    std::strcpy(master->listener_name(1).text, "echo");
    BOOST_TEST(worker->master_control().word.load() == 42u);
    BOOST_TEST(std::string(worker->listener_name(1).text) == "echo");
    // What may not be written the kernel refuses to write as well: read(2) into it gives EFAULT.
    int ends[2];
    BOOST_REQUIRE(pipe(ends) == 0);
    BOOST_REQUIRE(write(ends[1], "x", 1) == 1);
    BOOST_TEST(read(ends[0], master->records(), 1) == -1);
    close(ends[0]);
    close(ends[1]);
}

// As a later version makes them: whoever does not know a part leaves it alone.
BOOST_AUTO_TEST_CASE(an_unknown_part_is_left_alone) {
    const Slot slot;
    PartsHeader header = slot.header();
    const auto place = Parts(header).place({PartKind{60}, 9, 128, 64}, header.bytes);
    BOOST_REQUIRE(place.has_value());
    header.parts[header.part_count++] = *place;
    slot.write(header);
    uint64_t mark = 77;
    BOOST_REQUIRE(pwrite(slot.fds.board.get(), &mark, sizeof mark, static_cast<off_t>(place->at)) ==
                  sizeof mark);
    auto memory = slot.map();
    BOOST_REQUIRE(memory);
    BOOST_REQUIRE(memory->carve(slot.fds.board.get(), slot.fds.buffers.get()));
    BOOST_TEST(slot.header().part_count == header.part_count);
    BOOST_TEST(pread(slot.fds.board.get(), &mark, sizeof mark, static_cast<off_t>(place->at)) == sizeof mark);
    BOOST_TEST(mark == 77u);
}

BOOST_AUTO_TEST_CASE(what_needs_a_later_level_is_named) {
    const Slot slot;
    auto worker = slot.map();
    auto master = slot.map_board();
    BOOST_REQUIRE(worker && master);
    BOOST_REQUIRE(worker->carve(slot.fds.board.get(), slot.fds.buffers.get()));
    worker->raise_needs(kLevel);
    worker->raise_needs(1);
    BOOST_TEST(master->needed().level == kLevel);
    BOOST_TEST(master->needed().name == fmt::format("\"{}\"", name_of_level(kLevel)));
}

BOOST_AUTO_TEST_CASE(the_plan_for_others_is_no_less_than_the_own) {
    for (const uint32_t records : {1u, 64u, 4096u, 20'000u, 1'048'576u}) {
        const Slot slot(records);
        BOOST_TEST(SlotMemory::board_plan().of(records) >= Parts(slot.header()).end(), records);
        BOOST_TEST(SlotMemory::board_plan().of(records) <= slot.header().bytes, records);
    }
}

BOOST_AUTO_TEST_SUITE_END()

// The rules of the directory, without a memory.
BOOST_AUTO_TEST_SUITE(slot_parts)

BOOST_AUTO_TEST_CASE(a_part_comes_behind_the_last_and_its_guard) {
    Parts parts;
    const auto first = parts.place({PartKind::records, 1, 100, 50}, 1 << 20);
    BOOST_REQUIRE(first.has_value());
    BOOST_TEST(first->at == kPageBytes);
    parts.add(*first);
    const auto second = parts.place({PartKind::sessions, 1, 8, 1}, 1 << 20);
    BOOST_REQUIRE(second.has_value());
    BOOST_TEST(second->at == kPageBytes + 2 * kPageBytes + kPageBytes);
}

BOOST_AUTO_TEST_CASE(there_is_no_place_beyond_the_memory_nor_for_more_parts_than_a_directory_has) {
    Parts parts;
    BOOST_TEST(!parts.place({PartKind::records, 1, 4096, 1}, 2 * kPageBytes).has_value());
    BOOST_TEST(parts.place({PartKind::records, 1, 4096, 1}, 3 * kPageBytes).has_value());
    for (uint32_t i = 0; i < kMaxParts; ++i) parts.add(*parts.place({PartKind{i + 1}, 1, 8, 1}, 1 << 30));
    BOOST_TEST(!parts.place({PartKind{100}, 1, 8, 1}, 1 << 30).has_value());
}

BOOST_AUTO_TEST_CASE(a_later_part_may_be_missing_and_one_of_the_first_level_not) {
    PartsHeader header{};
    header.bytes = kPageBytes;
    const Parts none(header);
    const Part later{PartKind{40}, 2, 8, 1}, first{PartKind{41}, 1, 8, 1};
    BOOST_TEST(none.fault_against(std::span(&later, 1)).empty());
    BOOST_TEST(!none.fault_against(std::span(&first, 1)).empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::slot
