#pragma once

// How many connections each client address has with each listener: one sparse memory that all slots map, for
// a limit that holds over all workers. A slot has a hash table of its own, which it alone writes and all
// read; an address's total is the sum of one look into each. A reader may meet a change half way: it never
// runs on, and is wrong for that look at most. A slot's table is made anew from its records by whoever takes
// its seat, since a death may come between a record's change and the table's; until then the one before
// stands. The master drops the table of a slot that was lost. Where no listener has such a limit, nothing but
// the head is ever touched. Source: Knuth, TAOCP vol. 3, 6.4, algorithms L and R (linear probing, deletion).

#include <atomic>
#include <cstdint>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/layout.h"
#include "daemon/slot/sip_hash.h"

namespace tcpd::slot {

class AddressCounts {
public:
    // `most`: connections of one slot.
    static Result<UniqueFd> create(uint32_t most);
    static Result<AddressCounts> map(int fd);
    AddressCounts(AddressCounts&& other) noexcept;
    AddressCounts& operator=(AddressCounts&&) = delete;
    ~AddressCounts();

    // What a client counts under: a hash of 64 bits, by a key that no client knows, stands for the address
    // itself. IPv6 by its /64. `family` and `address` are a record's; 0: it is not counted, to add it does
    // nothing.
    uint64_t key_of(uint32_t listener, uint8_t family, const uint8_t* address) const;
    uint64_t key_of_name(uint32_t listener, std::string_view name) const;
    // Over the first `slots` tables.
    uint64_t total(uint64_t key, uint32_t slots) const;

    // A slot begins a table, which the others see once it is published, and adds and removes from then on.
    void begin_table(uint32_t slot, uint32_t expected);
    void publish_table();
    // False: no room, and nothing was changed.
    bool add(uint64_t key);
    void remove(uint64_t key);
    // Of a slot that counts no addresses, or that is gone.
    void drop_table(uint32_t slot);

private:
    struct Entry {
        std::atomic<uint64_t> key;  // 0: free; stored after the count
        std::atomic<uint32_t> count;
        uint32_t spare;
    };
    static_assert(sizeof(Entry) == 16);
    // Where a slot's table lies, in one word; 0: nowhere. It moves from one half of the slot's room to the
    // other when it is made anew.
    struct Place {
        uint32_t log2_entries = 0, half = 0;
        uint32_t pack() const { return log2_entries << 1 | half; }
        static Place unpack(uint32_t word) { return {word >> 1, word & 1}; }
        uint64_t entries() const { return uint64_t{1} << log2_entries; }
    };
    // Written once, but for `places`.
    struct Head {
        char magic[8];
        uint32_t format;
        uint32_t log2_most;  // entries of a half
        SipKey key;
        std::atomic<uint32_t> places[kMaxSlots];
    };
    static_assert(sizeof(Head) <= kPageBytes);
    struct Found {
        Entry* entry;  // the key's, or the free one it would get; null: neither
        bool is_there;
    };

    AddressCounts(char* base, uint64_t bytes, uint32_t log2_most);
    static uint64_t bytes_for(uint32_t log2_most);
    Head& head() const { return *reinterpret_cast<Head*>(base_); }
    Entry* table(uint32_t slot, Place place) const;
    Found find(Entry* entries, Place place, uint64_t key) const;
    void clear(uint32_t slot, Place place) const;
    void clear_and_map(uint32_t slot, Place place) const;
    bool is_sound(Place place) const;
    void make_room();
    void free_entry(uint64_t at);

    char* base_ = nullptr;
    uint64_t bytes_ = 0;
    uint32_t log2_most_ = 0;
    SipKey key_{};
    // Of the slot whose table this process writes.
    uint32_t slot_ = 0;
    Place place_;
    Entry* entries_ = nullptr;
    uint64_t held_ = 0;
    bool is_public_ = false;
};

}  // namespace tcpd::slot
