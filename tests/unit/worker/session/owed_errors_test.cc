#include "worker/session/owed_errors.h"

#include <array>
#include <string>

#include "tests/unit/worker/slot_fixture.h"

namespace tcpd::worker {
namespace {

struct OwedFixture : SlotFixture {
    slot::ChunkPool& chunks = worker->connections.chunks();
    slot::SessionRecord& record = memory.sessions()[5];
    OwedErrors owed{chunks, record};
    std::array<char, 4096> room{};

    bool add(uint64_t place, Refusal refusal = Refusal::too_many) {
        slot::Changes changes(worker->connections.memory());
        slot::ChunkId spent = 0;
        const bool added = owed.add(changes, place, refusal, &spent);
        worker->connections.journal().commit(changes);
        if (spent != 0) chunks.release(spent);
        return added;
    }
    // The number of frames.
    size_t take(uint64_t replies) {
        slot::Changes changes(worker->connections.memory());
        slot::ChunkId spent = 0;
        std::string_view bytes = owed.take_due(changes, replies, room, &spent);
        worker->connections.journal().commit(changes);
        if (spent != 0) chunks.release(spent);
        const Framing framing(*conf::find_built_in_framing("tcpd"));
        size_t frames = 0;
        for (FrameProgress one; framing.feed(one, {}, bytes) == FrameStep::whole; one = {}, ++frames) {
            bytes.remove_prefix(one.total_bytes);
        }
        BOOST_TEST(bytes.empty());
        return frames;
    }
};

BOOST_FIXTURE_TEST_SUITE(owed_errors, OwedFixture)

BOOST_AUTO_TEST_CASE(each_at_its_place) {
    BOOST_TEST(owed.is_empty());
    for (const uint64_t place : {7u, 7u, 9u}) BOOST_REQUIRE(add(place));
    BOOST_TEST(!owed.is_due(4));
    BOOST_TEST(owed.replies_before_next(4) == 3u);
    BOOST_TEST(owed.is_due(7));
    BOOST_TEST(take(7) == 2u);
    BOOST_TEST(owed.replies_before_next(7) == 2u);
    BOOST_TEST(take(12) == 1u);
    BOOST_TEST(owed.is_empty());
    BOOST_TEST(record.owed == 0u);
    BOOST_TEST(chunks.used_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(places_beyond_32_bits) {
    constexpr uint64_t kEdge = uint64_t{1} << 32;
    BOOST_REQUIRE(add(kEdge - 1));
    BOOST_REQUIRE(add(kEdge + 1));
    BOOST_TEST(owed.replies_before_next(kEdge - 3) == 2u);
    BOOST_TEST(take(kEdge - 1) == 1u);
    BOOST_TEST(owed.replies_before_next(kEdge - 1) == 2u);
    BOOST_TEST(!owed.is_due(kEdge));
    BOOST_TEST(owed.is_due(kEdge + 1));
}

// Around the end of a small chunk, into a large one, up to its end; none is lost or out of order.
BOOST_AUTO_TEST_CASE(a_ring_that_grows) {
    uint64_t next = 0, taken = 0;
    for (; next < 300; ++next) BOOST_REQUIRE(add(next));
    for (; taken < 200; ++taken) BOOST_REQUIRE_EQUAL(take(taken), 1u);
    while (add(next)) ++next;
    BOOST_TEST(next - taken == 64u * 1024 / 8);
    BOOST_TEST(chunks.used_bytes() == 64u * 1024);
    for (; taken < next; ++taken) {
        BOOST_REQUIRE_EQUAL(owed.replies_before_next(taken - 1), 1u);
        BOOST_REQUIRE_EQUAL(take(taken), 1u);
    }
    BOOST_TEST(chunks.used_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(as_many_as_there_is_room_for) {
    for (int i = 0; i < 500; ++i) BOOST_REQUIRE(add(1));
    size_t frames = 0;
    for (int turn = 0; turn < 10 && !owed.is_empty(); ++turn) {
        const size_t now = take(1);
        BOOST_TEST(now > 0u);
        frames += now;
    }
    BOOST_TEST(frames == 500u);
}

BOOST_AUTO_TEST_CASE(within_the_budget) {
    BOOST_REQUIRE(add(1));
    chunks.set_budgets(1, 0);
    for (int i = 1; i < 512; ++i) BOOST_REQUIRE(add(1));  // what is there already
    BOOST_TEST(!add(1));
    BOOST_TEST(take(1) > 0u);
    BOOST_TEST(add(1));
}

BOOST_AUTO_TEST_CASE(what_a_successor_finds) {
    BOOST_REQUIRE(add(1));
    const auto is_sound = [&] {
        auto next = seat();
        return OwedErrors(next->connections.chunks(), record).is_sound();
    };
    BOOST_TEST(is_sound());
    uint64_t& range = chunks.link(static_cast<slot::ChunkId>(record.owed)).range;
    const uint64_t good = range;
    range = uint64_t{512} << 32 | 1;
    BOOST_TEST(!is_sound());
    range = 513;
    BOOST_TEST(!is_sound());
    range = good;
    record.owed = ~uint64_t{0};
    BOOST_TEST(!is_sound());
    record.owed = 0;
    BOOST_TEST(is_sound());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace tcpd::worker
