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

// The promise as a number is said when it is 0, too.
bool is_said_at_0(std::string_view metric, std::string_view value) {
    return metric == "lost" || (metric == "adopted" && value == slot::name_of(slot::Cause::crash));
}

// A metric of many values, by the enum that names them.
template <typename Values, size_t Size>
void write_rows(Text out, const std::string& prefix, std::string_view metric,
                const std::array<uint64_t, Size>& numbers) {
    for (size_t i = 0; i < Size; ++i) {
        const std::string_view value = slot::name_of(static_cast<Values>(i));
        if (numbers[i] == 0 && !is_said_at_0(metric, value)) continue;
        fmt::format_to(out, "{} {} {} {}\n", prefix, metric, value, numbers[i]);
    }
}

void write_listener(Text out, const ListenerStatus& listener) {
    const std::string name = "listener " + listener.name;
    const ListenerTotals& totals = listener.totals;
    for (const std::string& address : listener.addresses) {
        fmt::format_to(out, "{} address {}\n", name, address);
    }
    if (listener.is_draining) fmt::format_to(out, "{} draining\n", name);
#define TCPD_LISTENER_METRIC(metric, ...) fmt::format_to(out, "{} " #metric " {}\n", name, totals.metric);
#define TCPD_LISTENER_METRICS(metric, values, ...) \
    write_rows<slot::values>(out, name, #metric, totals.metric);
#include "daemon/slot/metrics.def"
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
