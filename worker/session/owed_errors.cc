#include "worker/session/owed_errors.h"

#include <cstring>

namespace tcpd::worker {

using slot::ChunkId;

uint32_t OwedErrors::replies_before_next(uint64_t replies) const {
    const uint64_t next = entry(chunk(), window().first);
    return has_come(next, replies) ? 0 : static_cast<uint32_t>(next >> 32) - static_cast<uint32_t>(replies);
}

bool OwedErrors::add(slot::Changes& changes, uint64_t place, Refusal refusal, ChunkId* spent) {
    ChunkId into = chunk();
    Window now = into != 0 ? window() : Window();
    if (into == 0 || (now.count == capacity(into) && capacity(into) < slot::kLargeChunkBytes / 8)) {
        if (chunks_.is_over_budget()) return false;
        const ChunkId former = into;
        into = former == 0 ? chunks_.take_small() : chunks_.take_large();
        if (into == 0) return false;
        for (uint32_t i = 0; i < now.count; ++i) entry(into, i) = entry(former, now.first + i);
        now.first = 0;
        *spent = former;
        changes.set(&record_.owed, into);
    }
    if (now.count == capacity(into)) return false;
    entry(into, now.first + now.count) = place << 32 | static_cast<uint8_t>(refusal);
    ++now.count;
    changes.set(&chunks_.link(into).range, now.pack());
    return true;
}

std::string_view OwedErrors::take_due(slot::Changes& changes, uint64_t replies, std::span<char> room,
                                      ChunkId* spent) {
    Window now = window();
    const std::string_view taken = take(now, &replies, room);
    if (now.count == 0) {
        changes.set(&record_.owed, 0);
        *spent = chunk();
    } else {
        changes.set(&chunks_.link(chunk()).range, now.pack());
    }
    return taken;
}

std::string_view OwedErrors::take_any(slot::Changes& changes, std::span<char> room) {
    Window now = window();
    const std::string_view taken = take(now, nullptr, room);
    changes.set(&chunks_.link(chunk()).range, now.pack());
    return taken;
}

std::string_view OwedErrors::take(Window& now, const uint64_t* replies, std::span<char> room) const {
    ControlFrame frame;
    size_t used = 0;
    for (; now.count > 0; --now.count) {
        const uint64_t next = entry(chunk(), now.first);
        if (replies != nullptr && !has_come(next, *replies)) break;
        const ErrorText text = text_of(static_cast<Refusal>(next & 0xFF));
        const std::string_view bytes = frame.error(text.code, text.reason);
        if (room.size() - used < bytes.size()) break;
        std::memcpy(room.data() + used, bytes.data(), bytes.size());
        used += bytes.size();
        now.first = (now.first + 1) % capacity(chunk());
    }
    return {room.data(), used};
}

bool OwedErrors::is_sound() {
    if (record_.owed == 0) return true;
    if (!chunks_.is_valid(record_.owed) || !chunks_.mark_used(chunk())) return false;
    return window().first < capacity(chunk()) && window().count <= capacity(chunk());
}

}  // namespace tcpd::worker
