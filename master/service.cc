// What the service manager hears of the master.

#include <fmt/format.h>

#include <algorithm>

#include "master/master_process.h"

namespace tcpd::master {

// One line for people: `systemctl status` shows it.
std::string MasterProcess::describe_state() {
    const uint64_t open = crew_->open_connections();
    const std::string connections = fmt::format("{} connection{}", open, open == 1 ? "" : "s");
    if (crew_->is_stopping()) return "stopping";
    if (crew_->is_draining()) return "draining, " + connections + " left";
    if (crew_->is_resting()) return "drained, nothing is accepted until a reload; " + connections + " left";
    if (changes_.in_course()) {
        return changes_.in_course()->kind == ChangeKind::upgrade ? "upgrading" : "reloading";
    }
    const std::vector<SlotStatus> slots = crew_->slot_status();
    const auto down =
        std::count_if(slots.begin(), slots.end(), [](const SlotStatus& slot) { return slot.worker == 0; });
    std::string line =
        fmt::format("serving {} with {} worker{}", connections, slots.size(), slots.size() == 1 ? "" : "s");
    if (down > 0) line += fmt::format(", {} of them down", down);
    if (!last_failure_.empty()) line += "; " + last_failure_;
    return line;
}

// A change may take as long as what it asks of a new program; a drain as long as drain.stop says.
void MasterProcess::report_to_service(uint64_t now) {
    if (now < service_->next_report_ns() || !crew_->is_ready()) return;
    const bool takes_long = crew_->is_draining() || changes_.in_course().has_value();
    service_->report(now, describe_state(), takes_long);
}

}  // namespace tcpd::master
