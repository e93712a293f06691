#include "daemon/slot/journal.h"

namespace tcpd::slot {

std::string_view name_of(Phase phase) {
    switch (phase) {
        case Phase::idle: return "idle";
        case Phase::receiving: return "receiving";
        case Phase::received: return "received";
        case Phase::sending: return "sending";
        case Phase::flushing: return "flushing";
        case Phase::accepting: return "accepting";
        case Phase::dialing: return "dialing";
        case Phase::redo: return "redo";
        case Phase::count: break;
    }
    return "unknown";
}

bool Journal::may_change(uint64_t offset) const {
    const Header& h = memory_.header();
    auto inside = [offset](uint64_t begin, uint64_t bytes) {
        return offset >= begin && offset < begin + bytes && (offset - begin) % sizeof(uint64_t) == 0;
    };
    const uint64_t links = uint64_t{h.small_count} + h.large_count + 1;
    return inside(h.records_at, uint64_t{h.record_count} * sizeof(Record)) ||
           inside(h.sessions_at, uint64_t{h.record_count} * sizeof(SessionRecord)) ||
           inside(h.chunk_links_at, links * sizeof(ChunkLink)) ||
           inside(h.scoreboard_at, sizeof(Scoreboard)) ||
           inside(h.worker_control_at, sizeof(WorkerControl)) ||
           offset == h.journal_at + offsetof(JournalPage, receive_chunk) ||
           offset == h.journal_at + offsetof(JournalPage, handled_bytes);
}

bool Journal::is_sound(uint32_t count) const {
    if (count > kMaxRedo) return false;
    for (uint32_t i = 0; i < count; ++i) {
        if (!may_change(page_.redo[i].offset)) return false;
    }
    return true;
}

bool Journal::reapply() {
    const JournalWord found = word();
    if (!is_sound(found.count)) return false;
    apply(found.count);
    const bool leaves_bytes = Redo(*this, found.count).changes(&page_.handled_bytes);
    publish(leaves_bytes ? JournalWord{Phase::received, page_.received_bytes} : JournalWord{});
    return true;
}

}  // namespace tcpd::slot
