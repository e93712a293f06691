#include "master/status.h"

#include <fmt/format.h>

#include <iterator>

#include "daemon/slot/reason.h"

namespace tcpd::master {

namespace {

using Text = std::back_insert_iterator<std::string>;

std::string seconds(uint64_t nanoseconds) {
    return fmt::format("{:.1f}s", static_cast<double>(nanoseconds) / 1e9);
}

// Rows of one kind, by the enum that names them; `always`: also those that are 0.
template <typename Name, size_t Size>
void write_rows(Text out, const std::string& prefix, const std::array<uint64_t, Size>& values, bool always) {
    for (size_t i = 0; i < Size; ++i) {
        if (values[i] == 0 && !always) continue;
        fmt::format_to(out, "{} {} {}\n", prefix, slot::name_of(static_cast<Name>(i)), values[i]);
    }
}

void write_listener(Text out, const ListenerStatus& listener) {
    const std::string name = "listener " + listener.name;
    const ListenerTotals& totals = listener.totals;
    for (const std::string& address : listener.addresses) {
        fmt::format_to(out, "{} address {}\n", name, address);
    }
    if (listener.is_draining) fmt::format_to(out, "{} draining\n", name);
    fmt::format_to(out, "{} open {}\n{} accepted {}\n", name, totals.open, name, totals.accepted);
    write_rows<slot::CloseReason>(out, name + " closed", totals.closed, false);
    write_rows<slot::RefuseReason>(out, name + " refused", totals.refused, false);
    const size_t crash = static_cast<size_t>(slot::Cause::crash);
    if (totals.adopted[crash] == 0) fmt::format_to(out, "{} adopted crash 0\n", name);
    write_rows<slot::Cause>(out, name + " adopted", totals.adopted, false);
    write_rows<slot::Cause>(out, name + " lost", totals.lost, true);
    fmt::format_to(out, "{} received_bytes {}\n{} sent_bytes {}\n", name, totals.received_bytes, name,
                   totals.sent_bytes);
}

void write_slot(Text out, const SlotStatus& slot) {
    fmt::format_to(out, "slot {} worker {} standby {} state {} image {} attempt {} uptime {} seats {}\n",
                   slot.number, slot.worker, slot.standby, slot.state, slot.image, slot.attempt,
                   seconds(slot.uptime_ns), slot.seats);
    for (const auto& [name, value] : slot.counters) {
        fmt::format_to(out, "slot {} {} {}\n", slot.number, name, value);
    }
}

}  // namespace

std::string status_text(const Status& status) {
    std::string text;
    Text out(text);
    fmt::format_to(out, "tcpd version {}\ntcpd pid {}\ntcpd state {}\ntcpd uptime {}\ntcpd config {}\n",
                   status.version, status.pid, status.state, seconds(status.uptime_ns), status.config_path);
    fmt::format_to(out, "tcpd descriptor_limit {}\ntcpd connection_room {}\n", status.descriptor_limit,
                   status.connection_room);
    fmt::format_to(out, "tcpd memory_total {}\ntcpd memory_used {}\n", status.memory_total,
                   status.memory_used);
    fmt::format_to(out, "tcpd dropped_log_lines {}\ntcpd control_refused {}\n", status.dropped_log_lines,
                   status.control_refused);
    for (const ListenerStatus& listener : status.listeners) write_listener(out, listener);
    for (const SlotStatus& slot : status.slots) write_slot(out, slot);
    return text;
}

}  // namespace tcpd::master
