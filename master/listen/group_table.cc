#include "master/listen/group_table.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "master/listen/bpf.h"

namespace tcpd::master {

Result<std::unique_ptr<GroupTable>> GroupTable::make(int counts_map, uint32_t rows, bool by_key) {
    std::unique_ptr<GroupTable> table(new GroupTable);
    if (auto made = table->make_maps(rows, by_key); !made) return std::move(made.error());
    auto program = load_program(least_program({.groups = table->groups_.get(),
                                               .choices = table->choices_.get(),
                                               .sockets = table->sockets_.get(),
                                               .counts = counts_map}));
    if (!program) return std::move(program.error());
    table->program_ = std::move(*program);
    table->taken_.resize(rows);
    return table;
}

Result<void> GroupTable::make_maps(uint32_t rows, bool by_key) {
    const auto made_for = [](UniqueFd& fd, const BpfMap& wanted) -> Result<void> {
        auto map = make_map(wanted);
        if (!map) return std::move(map.error());
        fd = std::move(*map);
        return {};
    };
    auto done = made_for(
        choices_,
        {.type = BPF_MAP_TYPE_ARRAY, .value_bytes = sizeof(Choice), .entries = rows, .name = "tcpd_choices"});
    if (done)
        done = made_for(sockets_, {.type = BPF_MAP_TYPE_REUSEPORT_SOCKARRAY,
                                   .value_bytes = sizeof(uint64_t),
                                   .entries = place_of(rows, 0),
                                   .name = "tcpd_sockets"});
    if (done && by_key)
        done = made_for(groups_, {.type = BPF_MAP_TYPE_HASH,
                                  .key_bytes = sizeof(GroupKey),
                                  .value_bytes = sizeof(uint32_t),
                                  .entries = rows,
                                  .name = "tcpd_groups"});
    return done;
}

GroupTable::GroupTable(const SavedGroupTable& saved)
    : program_(saved.program),
      groups_(saved.groups),
      choices_(saved.choices),
      sockets_(saved.sockets),
      taken_(saved.rows) {}

SavedGroupTable GroupTable::save() const {
    return {.program = program_.get(),
            .groups = groups_.get(),
            .choices = choices_.get(),
            .sockets = sockets_.get(),
            .rows = static_cast<uint32_t>(taken_.size())};
}

// Empty before it has the key: what an earlier group left is not chosen from.
Result<uint32_t> GroupTable::take_row(const GroupKey& key) {
    const auto free = std::find(taken_.begin(), taken_.end(), false);
    if (free == taken_.end()) {
        return Error{ErrorCode::exhausted, "steer connections to one more address", "", 0,
                     "all rows of the BPF map are in use"};
    }
    const auto row = static_cast<uint32_t>(free - taken_.begin());
    auto done = choose(row, Choice{});
    if (done && groups_) done = put(groups_.get(), &key, &row);
    if (!done) return std::move(done.error());
    adopt_row(row);
    return row;
}

bool GroupTable::adopt_row(uint32_t row) {
    if (row >= taken_.size() || taken_[row]) return false;
    taken_[row] = true;
    ++used_;
    return true;
}

// Its address may be another row's by now.
void GroupTable::free_row(uint32_t row, const GroupKey& key) {
    uint32_t found = 0;
    if (groups_ && get(groups_.get(), &key, &found) && found == row) forget(groups_.get(), &key);
    taken_[row] = false;
    --used_;
}

Result<void> GroupTable::add_socket(uint32_t row, uint32_t slot, int fd) {
    const uint32_t place = place_of(row, slot);
    const uint64_t value = static_cast<uint32_t>(fd);
    return put(sockets_.get(), &place, &value);
}

void GroupTable::remove_socket(uint32_t row, uint32_t slot) {
    const uint32_t place = place_of(row, slot);
    forget(sockets_.get(), &place);
}

Result<void> GroupTable::choose(uint32_t row, const Choice& choice) {
    return put(choices_.get(), &row, &choice);
}

Result<void> GroupTable::attach(int fd) const {
    const int program = program_.get();
    if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof program) == 0) return {};
    return system_error(errno, "attach the BPF program that steers connections");
}

GroupRow& GroupRow::operator=(GroupRow&& other) noexcept {
    if (this == &other) return *this;
    reset();
    table_ = std::exchange(other.table_, nullptr);
    number_ = other.number_;
    key_ = other.key_;
    chosen_ = std::move(other.chosen_);
    return *this;
}

void GroupRow::reset() {
    if (table_ != nullptr) table_->free_row(number_, key_);
    table_ = nullptr;
    chosen_.reset();
}

Result<void> GroupRow::choose(const std::vector<uint32_t>& slots) {
    if (chosen_ == slots) return {};
    Choice choice;
    for (const uint32_t slot : slots) choice.slots[choice.count++ % slot::kMaxSlots] = slot;
    auto done = table_->choose(number_, choice);
    if (done) chosen_ = slots;
    return done;
}

}  // namespace tcpd::master
