#include "worker/net/close_line.h"

#include <arpa/inet.h>
#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>

#include "daemon/base/log.h"

namespace tcpd::worker {

namespace {

constexpr size_t kMostLineBytes = 640;  // a name has 63, every number 20

// Written on the stack: tens of thousands of connections may end in a second.
struct PeerText {
    explicit PeerText(const slot::Record& record) {
        if (record.address_family == 4) {
            const uint8_t* a = record.address;
            end = fmt::format_to(text, FMT_COMPILE("{}.{}.{}.{}:{}"), a[0], a[1], a[2], a[3], record.port);
        } else if (record.address_family == 6) {
            char literal[INET6_ADDRSTRLEN] = "?";
            inet_ntop(AF_INET6, record.address, literal, sizeof literal);
            end =
                fmt::format_to(text, FMT_COMPILE("[{}]:{}"), static_cast<const char*>(literal), record.port);
        } else {
            end = fmt::format_to(text, FMT_COMPILE("unix"));
        }
    }
    fmt::string_view view() const { return {text, static_cast<size_t>(end - text)}; }
    char text[64];
    char* end;
};

// What it was before its end was decided, in the words of the life cycle.
const char* state_name(slot::RecordWord word) {
    return (word.flags & (slot::kEndIn | slot::kEndOut)) != 0 ? "closing" : "active";
}

}  // namespace

std::string connection_name(const slot::Record& record) {
    return fmt::format("{}-{:x}", record.id >> 48, record.id & 0xFFFFFFFFFFFF);
}

std::string peer_name(const slot::Record& record) {
    const PeerText text(record);
    return {text.view().data(), text.view().size()};
}

void write_close_line(Connection c, const Rules& rules, uint64_t now_ns) {
    const slot::Record& r = c.record();
    const uint64_t milliseconds = now_ns > r.opened_ns ? (now_ns - r.opened_ns) / 1'000'000 : 0;
    const slot::RecordWord word = c.word();
    char line[kMostLineBytes];
    char note[Handler::kMostNoteBytes];
    const char* note_end = rules.handler->describe(c, note);
    const auto end = fmt::format_to_n(line, sizeof line,
                                      FMT_COMPILE("closed conn={}-{:x} listener={} peer={} state={} "
                                                  "reason={} duration={}.{:03}s received={} sent={}{}"),
                                      r.id >> 48, r.id & 0xFFFFFFFFFFFF, rules.name, PeerText(r).view(),
                                      state_name(word), name_of(static_cast<slot::CloseReason>(word.reason)),
                                      milliseconds / 1000, milliseconds % 1000, r.received, r.sent,
                                      fmt::string_view(note, static_cast<size_t>(note_end - note)));
    log::write_text(log::Level::info, {line, std::min(end.size, sizeof line)});
}

}  // namespace tcpd::worker
