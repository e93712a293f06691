#pragma once

// All that a master knows, as it goes over an exec in place: values by name (daemon/base/fields.h), descriptors by
// number. Written by the old program, read by the new one, which may be another version, earlier or later: what it does
// not know it passes over, and descriptors that only the other one knows it closes. Master only. Source: execve(2),
// memfd_create(2).

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "master/crew/children.h"
#include "master/listen/group_table.h"
#include "master/listen/listening_socket.h"
#include "master/listen/roster.h"
#include "master/supervisor.h"
#include "master/totals.h"

namespace tcpd::master {

inline constexpr uint32_t kStateFormat = 4;  // never counted up again

struct SavedChannel {
    int32_t fd = -1;
    uint32_t image = 0;
    int32_t image_pid = 0;
    bool holds_copies = false;
    uint64_t former_since_ns = 0;
};

struct SavedSlot {
    bool is_held = false;
    uint32_t generation = 0;
    bool is_held_back = false;
    int32_t board_fd = -1, buffers_fd = -1;
    uint64_t made_ns = 0;
    SavedChannel channel;
    std::vector<SavedChannel> former;
    bool log_pending = false;
    std::vector<int32_t> reaped_unseated;
};

struct SavedGeneration {
    uint32_t number = 0;
    int32_t program_fd = -1, bundle_fd = -1;
    uint32_t log_level = 0;
    Roster roster;
    uint32_t level = slot::kLevel;
};

struct SavedAddress {
    uint32_t listener = 0, index = 0, id = 0;
    std::string wanted, address;
    std::vector<int32_t> sockets;       // by slot; -1: none
    std::vector<uint32_t> group_slots;  // in the group's order
    UnixFile file;
    int32_t passed = -1;
    int32_t group_table = -1;  // in MasterState::group_tables; -1: it is steered by none
    uint32_t group_row = 0;
};

struct SavedInherited {
    std::string name;
    int32_t fd = -1;
};

struct SavedClient {
    uint64_t id = 0;
    int32_t fd = -1;
    bool asked = false, answered = false;
    std::vector<std::string> unsent;
};

struct SavedCrew {
    std::vector<SavedSlot> slots;
    SavedSupervisor supervisor;
    std::vector<Child> children;
    std::vector<std::string> names;
    std::vector<SavedGeneration> generations;
    uint32_t current = 0, last_generation = 0, previous = 0;
    uint64_t previous_until_ns = 0;
    std::vector<ListenerTotals> retired;
};

struct MasterState {
    std::string version;               // of the program that wrote it
    std::vector<int32_t> descriptors;  // all that it left open; made by `encode`
    std::string config_path, program_path;
    bool has_log_level = false;
    uint32_t log_level = 0;
    uint64_t begun_ns = 0;
    int32_t program_fd = -1, counts_fd = -1, address_counts_fd = -1, log_fd = -1;
    uint64_t descriptor_limit = 0;
    int32_t pid_file_fd = -1;
    UnixFile control_file;
    int32_t control_fd = -1;
    uint64_t last_request = 0;
    std::vector<SavedClient> clients;
    std::vector<uint64_t> askers, drain_askers;  // of the upgrade; of a drain
    bool change_waits = false;
    bool waiting_is_upgrade = false;
    std::vector<uint64_t> waiting_askers;
    std::vector<uint32_t> listen_slots;
    std::vector<SavedGroupTable> group_tables;
    std::vector<SavedAddress> addresses;
    std::vector<SavedInherited> inherited;
    SavedCrew crew;
};

std::string encode(MasterState state);
// bad_format says what is not understood.
Result<MasterState> decode(std::string_view bytes);
// Those that its writer left open and this program does not know.
std::vector<int> unknown_descriptors(const MasterState& state);
// All that is to stay open over the exec.
std::vector<int> descriptors_of(const MasterState& state);

}  // namespace tcpd::master
