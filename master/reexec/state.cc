#include "master/reexec/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "daemon/base/fields.h"

namespace tcpd::master {

// -- the fields of each, once for both ways

template <typename A>
void fields(A& a, UnixFile& v) {
    a("path", v.path, "device", v.device, "inode", v.inode, "mode", v.mode, "group", v.group);
}

template <typename A>
void fields(A& a, SavedChannel& v) {
    a("fd", v.fd, "image", v.image, "image_pid", v.image_pid, "holds_copies", v.holds_copies,
      "former_since_ns", v.former_since_ns);
}

template <typename A>
void fields(A& a, SavedSlot& v) {
    a("is_held", v.is_held, "generation", v.generation, "is_held_back", v.is_held_back, "board_fd",
      v.board_fd, "buffers_fd", v.buffers_fd, "made_ns", v.made_ns, "channel", v.channel, "former", v.former,
      "log_pending", v.log_pending, "reaped_unseated", v.reaped_unseated);
}

template <typename A>
void fields(A& a, DrainOrder& v) {
    a("begin_ns", v.begin_ns, "end_ns", v.end_ns, "spread", v.spread);
}

template <typename A>
void fields(A& a, RosterListener& v) {
    a("id", v.id, "name", v.name, "generation", v.generation, "index", v.index, "drain", v.drain);
}

template <typename A>
void fields(A& a, SavedGeneration& v) {
    a("number", v.number, "program_fd", v.program_fd, "bundle_fd", v.bundle_fd, "log_level", v.log_level,
      "roster", v.roster, "level", v.level);
}

template <typename A>
void fields(A& a, SavedAddress& v) {
    a("listener", v.listener, "index", v.index, "id", v.id, "wanted", v.wanted, "address", v.address,
      "sockets", v.sockets, "group_slots", v.group_slots, "file", v.file, "passed", v.passed, "group_table",
      v.group_table, "group_row", v.group_row);
}

template <typename A>
void fields(A& a, SavedGroupTable& v) {
    a("program", v.program, "groups", v.groups, "choices", v.choices, "sockets", v.sockets, "rows", v.rows);
}

template <typename A>
void fields(A& a, SavedInherited& v) {
    a("name", v.name, "fd", v.fd);
}

template <typename A>
void fields(A& a, SavedClient& v) {
    a("id", v.id, "fd", v.fd, "asked", v.asked, "answered", v.answered, "unsent", v.unsent);
}

template <typename A>
void fields(A& a, Pulse& v) {
    a("heartbeat_ns", v.heartbeat_ns, "open", v.open);
}

template <typename A>
void fields(A& a, SupervisedSlot& v) {
    a("state", v.state, "image", v.image, "image_pid", v.image_pid, "worker", v.worker, "standby", v.standby,
      "since_ns", v.since_ns, "served_ns", v.served_ns, "birth_due_ns", v.birth_due_ns, "dismissal_end_ns",
      v.dismissal_end_ns, "short_births", v.short_births, "served_once", v.served_once, "exposed", v.exposed,
      "exposed_due_ns", v.exposed_due_ns, "retire_due_ns", v.retire_due_ns, "failed_clones", v.failed_clones,
      "retiring", v.retiring, "paused", v.paused, "parked", v.parked, "renewed", v.renewed, "dismissed",
      v.dismissed, "standbys_lost", v.standbys_lost, "pulse", v.pulse, "aborted_ns", v.aborted_ns, "woken_ns",
      v.woken_ns);
}

template <typename A>
void fields(A& a, SavedSupervisor& v) {
    a("slots", v.slots, "images", v.images, "is_resting", v.is_resting);
}

template <typename A>
void fields(A& a, Child& v) {
    a("pid", v.pid, "slot", v.slot, "table", v.table, "image", v.image, "part", v.part, "held_seat",
      v.held_seat, "known_ns", v.known_ns);
}

template <typename A>
void fields(A& a, ListenerTotals& v) {
#define TCPD_LISTENER_METRIC(name, ...) a(#name, v.name);
#define TCPD_LISTENER_METRICS(name, ...) a(#name, v.name);
#include "daemon/slot/metrics.def"
}

template <typename A>
void fields(A& a, SavedCrew& v) {
    a("slots", v.slots, "supervisor", v.supervisor, "children", v.children, "names", v.names, "generations",
      v.generations, "current", v.current, "last_generation", v.last_generation, "previous", v.previous,
      "previous_until_ns", v.previous_until_ns, "retired", v.retired);
}

template <typename A>
void fields(A& a, MasterState& v) {
    a("version", v.version, "descriptors", v.descriptors, "config_path", v.config_path, "program_path",
      v.program_path, "has_log_level", v.has_log_level, "log_level", v.log_level, "begun_ns", v.begun_ns,
      "program_fd", v.program_fd, "counts_fd", v.counts_fd, "address_counts_fd", v.address_counts_fd,
      "log_fd", v.log_fd, "descriptor_limit", v.descriptor_limit, "pid_file_fd", v.pid_file_fd,
      "control_file", v.control_file, "control_fd", v.control_fd, "last_request", v.last_request, "clients",
      v.clients, "askers", v.askers, "drain_askers", v.drain_askers, "change_waits", v.change_waits,
      "waiting_is_upgrade", v.waiting_is_upgrade, "waiting_askers", v.waiting_askers, "listen_slots",
      v.listen_slots, "group_tables", v.group_tables, "addresses", v.addresses, "inherited", v.inherited,
      "crew", v.crew);
}

namespace {

constexpr char kStateMagic[8] = {'T', 'C', 'P', 'D', 'S', 'T', 'A', 'T'};

// Before the fields.
struct Head {
    char magic[8];
    uint32_t format = 0;
    uint32_t spare = 0;
    uint64_t bytes = 0;  // of the fields
};

Error not_understood(std::string reason) {
    return Error{ErrorCode::bad_format, "take over from", "the master before", 0, std::move(reason)};
}

}  // namespace

std::string encode(MasterState state) {
    state.descriptors = descriptors_of(state);
    FieldWriter writer;
    fields(writer, state);
    Head head{.format = kStateFormat, .bytes = writer.bytes().size()};
    std::memcpy(head.magic, kStateMagic, sizeof head.magic);
    return std::string(reinterpret_cast<const char*>(&head), sizeof head) + writer.bytes();
}

Result<MasterState> decode(std::string_view bytes) {
    Head head;
    if (bytes.size() < sizeof head) return not_understood("it left too little");
    std::memcpy(&head, bytes.data(), sizeof head);
    bytes.remove_prefix(sizeof head);
    if (std::memcmp(head.magic, kStateMagic, sizeof head.magic) != 0 || head.format != kStateFormat)
        return not_understood(fmt::format("its state is not of format {}", kStateFormat));
    MasterState state;
    FieldReader reader(bytes);
    if (head.bytes == bytes.size()) fields(reader, state);
    if (head.bytes != bytes.size() || !reader.is_good()) return not_understood("its state is damaged");
    return state;
}

std::vector<int> unknown_descriptors(const MasterState& state) {
    const std::vector<int> known = descriptors_of(state);
    std::vector<int> unknown;
    std::copy_if(
        state.descriptors.begin(), state.descriptors.end(), std::back_inserter(unknown),
        [&known](int fd) { return fd > 2 && std::find(known.begin(), known.end(), fd) == known.end(); });
    return unknown;
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
        list.push_back(slot.board_fd);
        list.push_back(slot.buffers_fd);
        list.push_back(slot.channel.fd);
        for (const SavedChannel& channel : slot.former) list.push_back(channel.fd);
    }
    std::erase(list, -1);
    return list;
}

}  // namespace tcpd::master
