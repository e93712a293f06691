#pragma once

// Several words of slot memory that change as one: each is set here, and all of them come into force with
// Journal::commit. Lies in slot memory from the first on, so that a death before the commit changes nothing and one
// after it all. A view, owns nothing; one at a time. Worker only.

#include <cstdint>
#include <cstdlib>

#include "daemon/slot/slot_memory.h"

namespace tcpd::slot {

class Changes {
public:
    // `begun`: so many entries are there already, of a predecessor.
    explicit Changes(SlotMemory& memory, uint32_t begun = 0)
        : memory_(memory), redo_(memory.journal().redo), count_(begun) {}

    // Beyond the room that there is it aborts, in every build: nothing is published, the successor meets the same again,
    // and quarantine ends it. A word that is set twice gets what was set last.
    void set(uint64_t* field, uint64_t value) {
        if (count_ == kMaxRedo) [[unlikely]]
            std::abort();
        redo_[count_++] = {memory_.offset_of(field), value};
    }
    // What was set, else what is stored.
    uint64_t get(const uint64_t* field) const {
        const uint64_t offset = memory_.offset_of(field);
        for (uint32_t i = count_; i > 0; --i) {
            if (redo_[i - 1].offset == offset) return redo_[i - 1].value;
        }
        return *field;
    }
    // A packed word: `f` edits what would be in force. Bits that it does not know stay.
    template <typename Word, typename F>
    void change(uint64_t* field, F&& f) {
        Word word = Word::unpack(get(field));
        f(word);
        set(field, word.pack());
    }
    bool has(const uint64_t* field) const {
        const uint64_t offset = memory_.offset_of(field);
        for (uint32_t i = 0; i < count_; ++i) {
            if (redo_[i].offset == offset) return true;
        }
        return false;
    }
    uint32_t count() const { return count_; }

private:
    SlotMemory& memory_;
    RedoEntry* redo_;
    uint32_t count_ = 0;
};

}  // namespace tcpd::slot
