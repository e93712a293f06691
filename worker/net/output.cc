// From the handler to the socket, and what the socket does not take. The twin of connection.cc.

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/base/error.h"
#include "daemon/base/fault_point.h"
#include "worker/net/connections.h"

namespace tcpd::worker {

using slot::ChunkId;
using slot::ChunkLink;

namespace {

constexpr int kMostChunksOfASend = 16;

// Record::out and ChunkLink::range.
constexpr uint64_t pack_pair(uint32_t high, uint32_t low) { return uint64_t{high} << 32 | low; }
constexpr uint32_t first_of(uint64_t pair) { return static_cast<uint32_t>(pair >> 32); }
constexpr uint32_t last_of(uint64_t pair) { return static_cast<uint32_t>(pair); }

}  // namespace

// The chunk that is received into always has a small one in reserve behind it: what a send leaves over can be
// kept whatever happens to memory in between.
bool Connections::have_receive_chunk() {
    uint64_t& chunk = journal_.page().receive_chunk;
    if (chunk != 0 && chunks_.ready()) [[likely]]
        return true;
    if (chunk == 0) {
        const ChunkId taken = chunks_.take_large();
        if (taken == 0) return false;
        chunks_.leave_out(taken);
        *static_cast<volatile uint64_t*>(&chunk) = taken;
    }
    return chunks_.ready();
}

void Connections::send_fresh(slot::Changes& changes, Connection source, Connection target, Bytes bytes) {
    uint32_t sent = 0;
    int error = 0;
    if (!target.has_output()) {
        journal_.publish_sending(changes, bytes.at, bytes.count);
        FAULT_POINT(send_before);
        const ssize_t taken = send(target.fd(), memory_.base() + bytes.at, bytes.count, MSG_NOSIGNAL);
        FAULT_POINT(send_done_not_published);
        if (taken >= 0) {
            sent = static_cast<uint32_t>(taken);
        } else if (errno != EAGAIN && errno != EINTR && !is_local_fault(errno)) {
            error = errno;
        }
    }
    complete_send(changes, source, target, bytes, sent);
    if (error != 0) [[unlikely]]
        on_send_error(target, error);
}

void Connections::resume_sent(Connection source, uint32_t begun, Connection target, uint32_t sent) {
    slot::Changes changes(memory_, begun);
    // Only a step that leaves bytes over says how far it came.
    if (!have_receive_chunk()) return end(source, slot::CloseReason::local_fault, true);
    const bool is_last = is_last_step_ = !changes.has(&journal_.page().handled_bytes);
    const uint32_t generation = source.generation();
    complete_send(changes, source, target, {journal_.page().send_at, journal_.page().send_bytes}, sent);
    if (!is_last && source.generation() == generation && source.state() == slot::State::open) hand_on(source);
}

void Connections::complete_send(slot::Changes& changes, Connection source, Connection target, Bytes bytes,
                                uint32_t sent) {
    await_answer(target);
    changes.set(&target->sent, target->sent + sent);
    if (sent == bytes.count) [[likely]] {
        commit_step(changes);
        target->active_tick = now_;
        return;
    }
    if (sent != 0) target->active_tick = now_;
    append(changes, target, nullptr, {bytes.at + sent, bytes.count - sent});
    commit_step(changes);
    press_back(source, target);
    update_interest(target);
    arm(target);
}

void Connections::append(slot::Changes& changes, Connection target, const Addition* addition, Bytes run) {
    if (!target.has_output()) target->progress_tick = now_;
    Tail tail{target->out, target->out_bytes, 0, 0};
    if (tail.out != 0) tail.range = chunks_.link(last_of(tail.out)).range;
    if (addition != nullptr && addition->chunk != 0) {
        hang(changes, tail, addition->chunk);
        tail.fresh = 0;  // its handler's record names it until the commit
    }
    if (run.count != 0) keep(changes, tail, run);
    if (addition != nullptr && !addition->reply.empty()) {
        const std::string_view reply = addition->reply;
        const auto count = static_cast<uint32_t>(reply.size());
        // A small one at first; who does not take its replies gets large ones, of which there are enough.
        if (!fits_behind(changes, tail, reply.data(), count)) {
            copy(changes, tail, tail.out == 0 ? chunks_.take_small() : chunks_.take_large(), reply.data(),
                 count);
        }
    }
    changes.set(&target->out, tail.out);
    changes.set(&target->out_bytes, tail.bytes);
}

// Ways to keep what was left over: at the end of the last chunk, in a small chunk, or by keeping the very
// chunk that it was received into, without a copy; if more of that one is to be handled, in a large chunk.
void Connections::keep(slot::Changes& changes, Tail& tail, Bytes bytes) {
    const char* data = memory_.base() + bytes.at;
    if (fits_behind(changes, tail, data, bytes.count)) return;
    if (bytes.count <= slot::kSmallChunkBytes)
        return copy(changes, tail, chunks_.take_small(), data, bytes.count);
    if (!is_last_step_) return copy(changes, tail, chunks_.take_large(), data, bytes.count);
    const auto chunk = static_cast<ChunkId>(journal_.page().receive_chunk);
    const auto begin = static_cast<uint32_t>(data - chunks_.data(chunk));
    chunks_.link(chunk) = {0, pack_pair(begin, begin + bytes.count)};
    hang(changes, tail, chunk);
    changes.set(&journal_.page().receive_chunk, chunks_.take_large());
}

// At the end of the last chunk, if that has room.
bool Connections::fits_behind(slot::Changes& changes, Tail& tail, const char* bytes, uint32_t count) {
    if (tail.out == 0) return false;
    const ChunkId chunk = last_of(tail.out);
    const uint32_t end = last_of(tail.range);
    if (chunks_.bytes(chunk) - end < count) return false;
    std::memcpy(chunks_.data(chunk) + end, bytes, count);
    tail.range = pack_pair(first_of(tail.range), end + count);
    if (tail.fresh != 0) {
        chunks_.link(chunk).range = tail.range;
    } else {
        changes.set(&chunks_.link(chunk).range, tail.range);
    }
    tail.bytes += count;
    return true;
}

void Connections::copy(slot::Changes& changes, Tail& tail, ChunkId chunk, const char* bytes, uint32_t count) {
    std::memcpy(chunks_.data(chunk), bytes, count);
    chunks_.link(chunk) = {0, pack_pair(0, count)};
    hang(changes, tail, chunk);
}

void Connections::hang(slot::Changes& changes, Tail& tail, ChunkId chunk) {
    ChunkLink& link = chunks_.link(chunk);
    link.next = 0;
    if (tail.out != 0) {
        ChunkLink& last = chunks_.link(last_of(tail.out));
        if (tail.fresh != 0) {
            last.next = chunk;
        } else {
            changes.set(&last.next, chunk);
        }
    }
    tail.out = pack_pair(tail.out != 0 ? first_of(tail.out) : chunk, chunk);
    tail.range = link.range;
    tail.bytes += last_of(link.range) - first_of(link.range);
    tail.fresh = chunk;
}

// Sent once the steps in hand are done.
void Connections::note_appended(Connection target) {
    for (uint64_t& tag : appended_to_) {
        if (tag == 0 || tag == target.tag()) {
            tag = target.tag();
            return;
        }
    }
}

void Connections::push_appended(Connection source) {
    const uint64_t source_tag = source.tag();
    for (uint64_t& tag : appended_to_) {
        if (const Connection target = with_tag(tag); target && target.state() == slot::State::open) {
            push(target);
            if (target.tag() == tag && target.has(slot::kClosing) && tag != source_tag) advance(target);
        }
        tag = 0;
    }
    if (source.tag() != source_tag) return;
    if (source.state() == slot::State::waiting) {
        update_interest(source);
        return rules_of(source)->handler->on_accepted(source);
    }
    if (source.state() != slot::State::open) return;
    if (source.has(slot::kClosing | slot::kEndIn | slot::kEndOut)) return advance(source);
    if (source.has(slot::kThrottled)) update_interest(source);
}

void Connections::push(Connection target) {
    const uint64_t tag = target.tag();
    take_in_hand(target);
    if (target.has_output() && (target->interest & EPOLLOUT) == 0) flush(target);
    if (target.tag() != tag || target.state() != slot::State::open || !target.has_output()) return;
    press_back_around(target);
    update_interest(target);
    arm(target);
}

// Whoever is read or not by how much output `c` has: what feeds it, and where its handler says so, itself.
void Connections::press_back_around(Connection c) {
    Handler& handler = *rules_of(c)->handler;
    if (const Connection source = handler.source_of(c)) press_back(source, c);
    if (const Connection sink = handler.sink_of(c); sink && !(sink == c)) press_back(c, sink);
}

void Connections::say(slot::Changes& changes, Connection c, std::string_view reply, ChunkId chunk) {
    if (!chunks_.ready()) return end(c, slot::CloseReason::local_fault, true);
    const Addition addition{.chunk = chunk, .reply = reply};
    append(changes, c, &addition, {});
    journal_.commit(changes);
    note_appended(c);
    push_appended(c);
}

// Until the journal says `received`, nobody looks at what the copy overwrites.
void Connections::hand_in(slot::Changes& changes, Connection c, std::string_view reply, ChunkId chunk,
                          uint32_t count) {
    if (!have_receive_chunk()) return end(c, slot::CloseReason::local_fault, true);
    take_in_hand(c);
    slot::JournalPage& page = journal_.page();
    char* buffer = chunks_.data(static_cast<ChunkId>(page.receive_chunk));
    std::memcpy(buffer, chunks_.data(chunk), count);
    page.buffer_at = memory_.offset_of(buffer);
    page.buffer_bytes = slot::kLargeChunkBytes;
    page.received_bytes = count;
    const Addition addition{.reply = reply};
    append(changes, c, &addition, {});
    changes.set(&page.handled_bytes, 0);
    changes.set(&c->received, c->received - count);
    journal_.commit(changes, {slot::Phase::received, count});
    chunks_.release(chunk);
    note_appended(c);
    if (!have_receive_chunk()) return end(c, slot::CloseReason::local_fault, true);
    hand_on(c);
}

void Connections::flush(Connection c) {
    if (c.has(slot::kFailed)) return;
    iovec pieces[kMostChunksOfASend];
    msghdr message{};
    message.msg_iov = pieces;
    uint32_t total = 0;
    for (ChunkId id = first_of(c->out); id != 0 && message.msg_iovlen < kMostChunksOfASend;) {
        const ChunkLink link = chunks_.link(id);
        const uint32_t begin = first_of(link.range);
        const uint32_t bytes = last_of(link.range) - begin;
        pieces[message.msg_iovlen++] = {chunks_.data(id) + begin, bytes};
        total += bytes;
        id = static_cast<ChunkId>(link.next);
    }
    journal_.publish_flushing(total);
    FAULT_POINT(flush_before);
    const ssize_t taken = sendmsg(c.fd(), &message, MSG_NOSIGNAL);
    FAULT_POINT(flush_done_not_published);
    if (taken > 0) return complete_flush(c, static_cast<uint32_t>(taken));
    journal_.publish_idle();
    if (errno != EAGAIN && errno != EINTR && !is_local_fault(errno)) on_send_error(c, errno);
}

void Connections::resume_flushed(Connection target, uint32_t sent) {
    if (sent != 0) complete_flush(target, sent);
}

void Connections::complete_flush(Connection c, uint32_t sent) {
    await_answer(c);
    const ChunkId first = first_of(c->out);
    slot::Changes changes(memory_);
    changes.set(&c->sent, c->sent + sent);
    changes.set(&c->out_bytes, c->out_bytes - sent);
    ChunkId id = first;
    for (uint32_t left = sent; id != 0;) {
        ChunkLink& link = chunks_.link(id);
        const uint32_t bytes = last_of(link.range) - first_of(link.range);
        if (left < bytes) {
            changes.set(&link.range, pack_pair(first_of(link.range) + left, last_of(link.range)));
            break;
        }
        left -= bytes;
        id = static_cast<ChunkId>(link.next);
    }
    if (id != first) changes.set(&c->out, id == 0 ? 0 : pack_pair(id, last_of(c->out)));
    journal_.commit(changes);
    FAULT_POINT(flush_published_not_pressed);
    for (ChunkId done = first; done != id;) {
        const auto next = static_cast<ChunkId>(chunks_.link(done).next);
        chunks_.release(done);
        done = next;
    }
    c->active_tick = c->progress_tick = now_;
    after_output(c);
}

void Connections::after_output(Connection c) {
    press_back_around(c);
    if (!c.has_output()) return advance(c);
}

// Reading stops over the high-water mark of what takes the bytes and goes on below the low one.
void Connections::press_back(Connection source, Connection sink) {
    const Rules& rules = *rules_of(sink);
    const bool paused = source.has(slot::kPaused);
    const uint64_t fill = std::max(sink->out_bytes, rules.handler->own_backlog(source));
    const uint64_t high = output_high(sink);
    if (!paused && fill > high) {
        source.set(slot::kPaused);
    } else if (paused && fill <= std::min(high, rules.output_low_bytes)) {
        source->input_tick = now_;  // until now it could not be heard
        source.set(slot::kPaused, false);
        arm(source);
    } else {
        return;
    }
    update_interest(source);
}

}  // namespace tcpd::worker
