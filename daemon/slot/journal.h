#pragma once

// The worker's note of what it has in hand, so that its successor can go on at any instruction. Written by
// the worker; read by its successor (worker/recovery.h). Lies in slot memory; this is a view and owns
// nothing.
//
//   phase      said before            count          a successor
//   idle       -                      0              re-arms the two in hand, advances them
//   receiving  recv                   0              asks the kernel how much was taken from the source
//   received   bytes are handled      bytes          hands them on as if recv had just returned
//   sending    send of fresh bytes    entries        asks the kernel how much was given to the target, then
//                                                    goes on with the redo log that was begun
//   flushing   send of kept output    bytes asked    the same
//   accepting  accept4                listener id    adopts descriptors that have no record
//   dialing    socket                 0              closes descriptors that have no record, dials anew
//   redo       several words change   entries        stores them again; if a step of several ended with them,
//                                                    hands on what it left over
//
// Order: fields, then `word` by a release store. One store is never torn, whatever kills the process between
// two.

#include <atomic>
#include <cstdint>
#include <string_view>

#include "daemon/base/fault_point.h"
#include "daemon/slot/changes.h"
#include "daemon/slot/layout.h"
#include "daemon/slot/slot_memory.h"

namespace tcpd::slot {

enum class Phase : uint8_t { idle, receiving, received, sending, flushing, accepting, dialing, redo, count };

std::string_view name_of(Phase phase);

struct JournalWord {
    Phase phase = Phase::idle;
    uint32_t count = 0;
    constexpr uint64_t pack() const { return uint64_t{static_cast<uint8_t>(phase)} << 56 | count; }
    static constexpr JournalWord unpack(uint64_t word) {
        return {static_cast<Phase>(word >> 56), static_cast<uint32_t>(word)};
    }
};

class Journal {
public:
    explicit Journal(SlotMemory& memory) : page_(memory.journal()), memory_(memory) {}

    void take_in_hand(int source, uint32_t source_generation, int target, uint32_t target_generation) {
        page_.source_fd = source;
        page_.source_generation = source_generation;
        page_.target_fd = target;
        page_.target_generation = target_generation;
    }
    void publish_receiving(uint64_t buffer_at, uint32_t bytes) {
        page_.buffer_at = buffer_at;
        page_.buffer_bytes = bytes;
        publish({Phase::receiving, 0});
    }
    void publish_received(uint32_t bytes) {
        page_.received_bytes = bytes;
        page_.handled_bytes = 0;
        publish({Phase::received, bytes});
    }
    void publish_flushing(uint32_t bytes) { publish({Phase::flushing, bytes}); }
    void publish_accepting(uint32_t listener) { publish({Phase::accepting, listener}); }
    void publish_dialing() { publish({Phase::dialing, 0}); }
    void publish_idle() { publish({Phase::idle, 0}); }

    // What was set so far is decided, whatever comes of a send of these bytes.
    void publish_sending(const Changes& changes, uint64_t send_at, uint32_t bytes) {
        page_.send_at = send_at;
        page_.send_bytes = bytes;
        publish({Phase::sending, changes.count()});
    }
    // Leaves `after` in the journal.
    void commit(const Changes& changes, JournalWord after = {}) {
        FAULT_POINT(journal_filled_not_published);
        publish({Phase::redo, changes.count()});
        FAULT_POINT(journal_count_published_not_applied);
        apply(changes.count());
        FAULT_POINT(journal_applied_not_idle);
        publish(after);
    }

    // All of the first `count` entries point to what may be changed.
    bool is_sound(uint32_t count) const;
    // For the successor: stores a published redo log again, and leaves in the journal what its predecessor
    // would have left. False: an entry points outside of what it may change, none was stored.
    bool reapply();

    JournalWord word() const { return JournalWord::unpack(page_.word.load(std::memory_order_acquire)); }
    JournalPage& page() { return page_; }
    SlotMemory& memory() { return memory_; }

private:
    void publish(JournalWord word) { page_.word.store(word.pack(), std::memory_order_release); }
    void apply(uint32_t count) {
        for (uint32_t i = 0; i < count; ++i) {
            if (i == 1) FAULT_POINT(journal_half_applied);
            auto* field = reinterpret_cast<uint64_t*>(memory_.base() + page_.redo[i].offset);
            *static_cast<volatile uint64_t*>(field) = page_.redo[i].value;
        }
    }
    JournalPage& page_;
    SlotMemory& memory_;
};

}  // namespace tcpd::slot
