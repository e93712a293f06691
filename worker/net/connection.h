#pragma once

// A connection as its worker sees it: a view of one record in slot memory. Passed by value, never kept across
// a return to the loop; whoever needs it again keeps descriptor and generation. Owns nothing. Worker only.

#include <cstdint>

#include "daemon/slot/record.h"

namespace tcpd::worker {

class Connection {
public:
    Connection() = default;
    Connection(int fd, slot::Record* record) : fd_(fd), record_(record) {}

    explicit operator bool() const { return record_ != nullptr; }
    bool operator==(const Connection& other) const { return record_ == other.record_; }
    int fd() const { return fd_; }
    slot::Record& record() const { return *record_; }
    slot::Record* operator->() const { return record_; }

    slot::RecordWord word() const { return slot::RecordWord::unpack(record_->word); }
    uint32_t generation() const { return static_cast<uint32_t>(record_->word >> 32); }
    slot::State state() const { return word().state; }
    slot::Kind kind() const { return word().kind; }
    bool has(uint16_t flag) const { return (word().flags & flag) != 0; }
    bool is_dialled() const {
        return kind() == slot::Kind::dialled_tcp || kind() == slot::Kind::dialled_unix;
    }
    bool is_tcp() const { return kind() == slot::Kind::accepted_tcp || kind() == slot::Kind::dialled_tcp; }
    bool has_output() const { return record_->out != 0; }
    uint64_t tag() const {
        return uint64_t{static_cast<uint32_t>(fd_)} << 32 | generation();
    }  // as Record::peer

    // For a flag that changes alone; with anything else it goes through the redo log.
    void set(uint16_t flag, bool on = true) const {
        slot::RecordWord w = word();
        w.flags = static_cast<uint16_t>(on ? w.flags | flag : w.flags & ~flag);
        *static_cast<volatile uint64_t*>(&record_->word) = w.pack();
    }

private:
    int fd_ = -1;
    slot::Record* record_ = nullptr;
};

// A share of a time that belongs to a connection (Record::id) alone, the same for every successor. The time
// is below 2^39 ns, or the share is coarse.
inline constexpr uint64_t share_of(uint64_t id, uint64_t nanoseconds) {
    const uint64_t scattered = (id * 0x9E3779B97F4A7C15) >> 40;  // 24 bits
    return (nanoseconds >> 24) * scattered;
}

inline constexpr uint64_t kNoPeer = ~uint64_t{0};

}  // namespace tcpd::worker
