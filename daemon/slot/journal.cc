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

bool Journal::is_sound(uint32_t count) const {
    if (count > kMaxRedo) return false;
    for (uint32_t i = 0; i < count; ++i) {
        if (!memory_.may_change(page_.redo[i].offset)) return false;
    }
    return true;
}

bool Journal::reapply() {
    const JournalWord found = word();
    if (!is_sound(found.count)) return false;
    apply(found.count);
    const bool leaves_bytes = Changes(memory_, found.count).has(&page_.handled_bytes);
    publish(leaves_bytes ? JournalWord{Phase::received, page_.received_bytes} : JournalWord{});
    return true;
}

}  // namespace tcpd::slot
