#include "master/reexec/state.h"

#include <fmt/format.h>

#include <algorithm>

#include "master/reexec/archive.h"

namespace tcpd::master {

// -- the fields of each, once for both ways

template <typename A>
void fields(A& a, UnixFile& v) {
    a(v.path, v.device, v.inode, v.mode, v.group);
}

template <typename A>
void fields(A& a, SavedChannel& v) {
    a(v.fd, v.image, v.image_pid, v.holds_copies, v.former_since_ns);
}

template <typename A>
void fields(A& a, SavedSlot& v) {
    a(v.is_held, v.generation, v.is_held_back, v.memory_fd, v.made_ns, v.channel, v.former, v.log_pending,
      v.reaped_unseated);
}

template <typename A>
void fields(A& a, DrainOrder& v) {
    a(v.begin_ns, v.end_ns, v.spread);
}

template <typename A>
void fields(A& a, RosterListener& v) {
    a(v.id, v.name, v.generation, v.index, v.drain);
}

template <typename A>
void fields(A& a, SavedGeneration& v) {
    a(v.number, v.program_fd, v.bundle_fd, v.log_level, v.roster);
}

template <typename A>
void fields(A& a, SavedAddress& v) {
    a(v.listener, v.index, v.id, v.wanted, v.address, v.sockets, v.group_slots, v.file, v.passed,
      v.group_table, v.group_row);
}

template <typename A>
void fields(A& a, SavedGroupTable& v) {
    a(v.program, v.groups, v.choices, v.sockets, v.rows);
}

template <typename A>
void fields(A& a, SavedInherited& v) {
    a(v.name, v.fd);
}

template <typename A>
void fields(A& a, SavedClient& v) {
    a(v.id, v.fd, v.asked, v.answered, v.unsent);
}

template <typename A>
void fields(A& a, Pulse& v) {
    a(v.heartbeat_ns, v.open);
}

template <typename A>
void fields(A& a, SupervisedSlot& v) {
    a(v.state, v.image, v.image_pid, v.worker, v.standby, v.since_ns, v.served_ns, v.birth_due_ns,
      v.dismissal_end_ns, v.short_births, v.served_once, v.exposed, v.exposed_due_ns, v.retire_due_ns,
      v.failed_clones, v.retiring, v.paused, v.parked, v.renewed, v.dismissed, v.standbys_lost, v.pulse,
      v.aborted_ns, v.woken_ns);
}

template <typename A>
void fields(A& a, SavedSupervisor& v) {
    a(v.slots, v.images, v.is_resting);
}

template <typename A>
void fields(A& a, Child& v) {
    a(v.pid, v.slot, v.table, v.image, v.part, v.held_seat, v.known_ns);
}

template <typename A>
void fields(A& a, ListenerTotals& v) {
    a(v.open, v.accepted, v.closed, v.refused, v.adopted, v.lost, v.received_bytes, v.sent_bytes);
}

template <typename A>
void fields(A& a, SavedCrew& v) {
    a(v.slots, v.supervisor, v.children, v.names, v.generations, v.current, v.last_generation, v.previous,
      v.previous_until_ns, v.retired);
}

// `format` and `version` come first in every format.
template <typename A>
void rest_of_fields(A& a, MasterState& v) {
    a(v.config_path, v.program_path, v.has_log_level, v.log_level, v.begun_ns, v.program_fd, v.counts_fd,
      v.address_counts_fd, v.log_fd, v.descriptor_limit, v.pid_file_fd, v.control_file, v.control_fd,
      v.last_request, v.clients, v.askers, v.drain_askers, v.change_waits, v.waiting_is_upgrade,
      v.waiting_askers, v.listen_slots, v.group_tables, v.addresses, v.inherited, v.crew);
}

namespace {

Error not_understood(std::string reason) {
    return Error{ErrorCode::bad_format, "take over from", "the master before", 0, std::move(reason)};
}

}  // namespace

std::string encode(MasterState state) {
    ArchiveWriter writer;
    writer(state.format, state.version);
    rest_of_fields(writer, state);
    return writer.bytes();
}

Result<MasterState> decode(std::string_view bytes) {
    MasterState state;
    ArchiveReader reader(bytes);
    reader(state.format, state.version);
    if (!reader.is_good()) return not_understood("it left too little");
    if (state.format != kStateFormat) {
        return not_understood(fmt::format("its state has format {} (version {}), known is {}", state.format,
                                          state.version, kStateFormat));
    }
    rest_of_fields(reader, state);
    if (!reader.is_whole()) return not_understood("its state is damaged");
    return state;
}

std::vector<int> descriptors_of(const MasterState& state) {
    std::vector<int> list = {state.program_fd, state.counts_fd,   state.address_counts_fd,
                             state.log_fd,     state.pid_file_fd, state.control_fd};
    for (const SavedClient& client : state.clients) list.push_back(client.fd);
    for (const SavedAddress& address : state.addresses) {
        list.insert(list.end(), address.sockets.begin(), address.sockets.end());
    }
    for (const SavedGroupTable& table : state.group_tables) {
        for (const int fd : {table.program, table.groups, table.choices, table.sockets}) list.push_back(fd);
    }
    for (const SavedInherited& socket : state.inherited) list.push_back(socket.fd);
    for (const SavedGeneration& generation : state.crew.generations) {
        list.push_back(generation.program_fd);
        list.push_back(generation.bundle_fd);
    }
    for (const SavedSlot& slot : state.crew.slots) {
        if (!slot.is_held) continue;
        list.push_back(slot.memory_fd);
        list.push_back(slot.channel.fd);
        for (const SavedChannel& channel : slot.former) list.push_back(channel.fd);
    }
    std::erase(list, -1);
    return list;
}

}  // namespace tcpd::master
