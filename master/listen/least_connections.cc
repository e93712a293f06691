#include "master/listen/least_connections.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/log.h"
#include "daemon/slot/shared_counts.h"
#include "master/listen/bpf.h"

namespace tcpd::master {

namespace {

constexpr size_t kFewestRows = 16;

// The verifier's verdict on a program, which is not about our rights.
bool is_misunderstood(const Error& error) { return error.sys_errno == EACCES || error.sys_errno == EINVAL; }

}  // namespace

Result<UniqueFd> make_counts_map() {
    return make_map({.type = BPF_MAP_TYPE_ARRAY,
                     .value_bytes = slot::SharedCounts::kBytes,
                     .flags = BPF_F_MMAPABLE,
                     .name = "tcpd_counts"});
}

bool is_counts_map(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 && !S_ISREG(status.st_mode);
}

Result<void> LeastConnections::steer(GroupRow& row, std::vector<SteeredSocket>& members,
                                     const std::vector<uint32_t>& chosen) {
    GroupRow fresh;
    if (!row) {
        auto found = find_row(key_of(members.front().fd));
        if (!found) return std::move(found.error());
        fresh = std::move(*found);
    }
    GroupRow& used = row ? row : fresh;
    std::vector<uint32_t> slots;
    for (SteeredSocket& member : members) {
        if (!member.is_in_map) {
            auto done = used.table().add_socket(used.number(), member.slot, member.fd);
            const bool is_there = row && !done && done.error().sys_errno == EBUSY;  // since before an exec
            if (!done && !is_there) return done;
            member.is_in_map = true;
        }
        if (std::find(chosen.begin(), chosen.end(), member.slot) != chosen.end())
            slots.push_back(member.slot);
    }
    auto done = used.choose(slots);
    if (!done || row) return done;
    done = fresh.table().attach(members.front().fd);
    if (done) row = std::move(fresh);
    return done;
}

// One table as a rule: a second one if a reload brought more than the first was made for. A socket can't move
// from one to another without a moment in which the kernel goes by its hash.
Result<GroupRow> LeastConnections::find_row(const GroupKey& key) {
    const auto has_room =
        std::find_if(tables_.begin(), tables_.end(), [](const auto& table) { return !table->is_full(); });
    GroupTable* table = nullptr;
    if (has_room != tables_.end()) {
        table = has_room->get();
    } else {
        auto added = add_table();
        if (!added) return std::move(added.error());
        table = *added;
    }
    auto number = table->take_row(key);
    if (!number) return std::move(number.error());
    return GroupRow(*table, *number, key);
}

Result<GroupTable*> LeastConnections::add_table() {
    const auto rows = static_cast<uint32_t>(std::max(kFewestRows, 2 * expected_));
    auto made = GroupTable::make(counts_map_, has_own_programs_ ? 1 : rows, !has_own_programs_);
    if (!made && !has_own_programs_ && is_misunderstood(made.error())) {
        made = GroupTable::make(counts_map_, 1, false);
        if (made) {
            log::info("this kernel steers by a program for each address; from Linux 5.14 on one is enough");
            use_own_programs();
        }
    }
    if (!made) return std::move(made.error());
    tables_.push_back(std::move(*made));
    return tables_.back().get();
}

// -- over an exec

std::vector<SavedGroupTable> LeastConnections::save() const {
    std::vector<SavedGroupTable> list;
    for (const auto& table : tables_) list.push_back(table->save());
    return list;
}

void LeastConnections::take_over(const std::vector<SavedGroupTable>& saved) {
    for (const SavedGroupTable& table : saved) {
        tables_.push_back(std::make_unique<GroupTable>(table));
        if (table.groups < 0) use_own_programs();
    }
}

int32_t LeastConnections::number_of(const GroupRow& row) const {
    for (size_t i = 0; row && i < tables_.size(); ++i) {
        if (tables_[i].get() == &row.table()) return static_cast<int32_t>(i);
    }
    return -1;
}

GroupRow LeastConnections::take_over_row(int32_t table, uint32_t number, int socket) {
    if (table < 0 || static_cast<size_t>(table) >= tables_.size()) return {};
    GroupTable& found = *tables_[static_cast<size_t>(table)];
    if (!found.adopt_row(number)) return {};
    return GroupRow(found, number, key_of(socket));
}

}  // namespace tcpd::master
