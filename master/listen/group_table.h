#pragma once

// The BPF program that steers, with the maps that it reads: rows for so many SO_REUSEPORT groups, and for
// each row a place for the socket of each slot. Master only. Owns the descriptors; the kernel keeps program
// and maps as long as one socket of a group is open, so if the master dies all groups stay steered as they
// were. Source: least_program.h; the kernel's net/core/sock_reuseport.c, kernel/bpf/reuseport_array.c.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "master/listen/least_program.h"

namespace tcpd::master {

// Over an exec of this process.
struct SavedGroupTable {
    int32_t program = -1, groups = -1, choices = -1, sockets = -1;
    uint32_t rows = 0;
};

class GroupTable {
public:
    // `by_key`: the program looks up whose socket was met, which takes Linux 5.14. Else it has one row.
    static Result<std::unique_ptr<GroupTable>> make(int counts_map, uint32_t rows, bool by_key);
    explicit GroupTable(const SavedGroupTable& saved);
    GroupTable(const GroupTable&) = delete;
    SavedGroupTable save() const;

    // The lowest that is free, with nothing to choose from; exhausted: none is.
    Result<uint32_t> take_row(const GroupKey& key);
    bool adopt_row(uint32_t row);  // one that was taken before an exec
    void free_row(uint32_t row, const GroupKey& key);
    bool is_full() const { return used_ == taken_.size(); }
    // EBUSY: it is in this table or another one already. It leaves by itself when it is closed.
    Result<void> add_socket(uint32_t row, uint32_t slot, int fd);
    void remove_socket(uint32_t row, uint32_t slot);
    Result<void> choose(uint32_t row, const Choice& choice);
    // To the group of this socket.
    Result<void> attach(int fd) const;

private:
    GroupTable() = default;
    Result<void> make_maps(uint32_t rows, bool by_key);
    UniqueFd program_, groups_, choices_, sockets_;
    std::vector<bool> taken_;  // by row
    size_t used_ = 0;
};

// A group's row, for as long as it has one; the table outlives it.
class GroupRow {
public:
    GroupRow() = default;
    GroupRow(GroupTable& table, uint32_t number, const GroupKey& key)
        : table_(&table), number_(number), key_(key) {}
    GroupRow(GroupRow&& other) noexcept { *this = std::move(other); }
    GroupRow& operator=(GroupRow&& other) noexcept;
    ~GroupRow() { reset(); }
    void reset();
    explicit operator bool() const { return table_ != nullptr; }
    GroupTable& table() const { return *table_; }
    uint32_t number() const { return number_; }
    // Does nothing where it is the choice already.
    Result<void> choose(const std::vector<uint32_t>& slots);

private:
    GroupTable* table_ = nullptr;
    uint32_t number_ = 0;
    GroupKey key_{};
    std::optional<std::vector<uint32_t>> chosen_;
};

}  // namespace tcpd::master
