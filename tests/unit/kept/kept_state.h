#pragma once

// A master's state with something in each of its fields.

#include "master/reexec/state.h"

namespace tcpd::master {

inline MasterState state_to_keep() {
    MasterState state;
    state.version = "1.2.3";
    state.config_path = "/etc/tcpd/tcpd.yaml";
    state.program_path = "/usr/sbin/tcpd";
    state.has_log_level = true;
    state.log_level = 2;
    state.begun_ns = 77;
    state.program_fd = 11;
    state.counts_fd = 12;
    state.log_fd = 13;
    state.address_counts_fd = 26;
    state.descriptor_limit = 20000;
    state.control_file = {"/run/tcpd/tcpd.pid.ctl", 5, 6};
    state.control_fd = 14;
    state.last_request = 9;
    state.clients = {{8, 15, true, false, {"some", ""}}, {9, 16, false, false, {}}};
    state.askers = {8};
    state.change_waits = true;
    state.waiting_askers = {1, 2};
    state.listen_slots = {0, 1};
    state.addresses = {{.id = 3,
                        .wanted = "*:0",
                        .address = "0.0.0.0:7000",
                        .sockets = {17, -1},
                        .group_slots = {1, 0},
                        .passed = 18,
                        .group_table = 0,
                        .group_row = 5}};
    state.group_tables = {{.program = 19, .groups = 20, .choices = 27, .sockets = 28, .rows = 16}};
    state.inherited = {{"web", 18}};
    SavedSlot slot;
    slot.is_held = true;
    slot.board_fd = 21;
    slot.buffers_fd = 29;
    slot.channel.fd = 22;
    slot.former = {SavedChannel{.fd = 23}};
    state.crew.slots = {slot, SavedSlot{}};
    state.crew.names = {"echo"};
    state.crew.generations = {{.number = 1, .program_fd = 24, .bundle_fd = 25, .roster = {{.name = "echo"}}}};
    return state;
}

}  // namespace tcpd::master
