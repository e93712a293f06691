// From the handler to the socket, and what the socket does not take. The twin of connection.cc.

#include <sys/socket.h>
#include <sys/uio.h>

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
        *static_cast<volatile uint64_t*>(&chunk) = taken;
    }
    return chunks_.ready();
}

void Connections::send_fresh(slot::Journal::Redo& redo, Connection source, Connection target, Bytes bytes) {
    uint32_t sent = 0;
    if (!target.has_output()) {
        redo.publish_sending(bytes.at, bytes.count);
        FAULT_POINT(send_before);
        const ssize_t taken = send(target.fd(), memory_.base() + bytes.at, bytes.count, MSG_NOSIGNAL);
        FAULT_POINT(send_done_not_published);
        if (taken >= 0) {
            sent = static_cast<uint32_t>(taken);
        } else if (errno != EAGAIN && errno != EINTR && !is_local_fault(errno)) {
            return on_send_error(target, errno);
        }
    }
    complete_send(redo, source, target, bytes, sent);
}

void Connections::resume_sent(Connection source, uint32_t begun, Connection target, uint32_t sent) {
    slot::Journal::Redo redo(journal_, begun);
    const bool is_last = is_last_step(redo);
    const uint32_t generation = source.generation();
    complete_send(redo, source, target, {journal_.page().send_at, journal_.page().send_bytes}, sent);
    if (!is_last && source.generation() == generation && source.state() == slot::State::open) hand_on(source);
}

void Connections::complete_send(slot::Journal::Redo& redo, Connection source, Connection target, Bytes bytes,
                                uint32_t sent) {
    redo.set(&target->sent, target->sent + sent);
    if (sent == bytes.count) [[likely]] {
        commit_step(redo);
        target->active_tick = now_;
        return;
    }
    if (!target.has_output()) target->progress_tick = now_;
    if (sent != 0) target->active_tick = now_;
    keep(redo, target, {bytes.at + sent, bytes.count - sent});
    commit_step(redo);
    press_back(source, target);
    update_interest(target);
    arm(target);
}

// Ways to keep what was left over: at the end of the last chunk, in a small chunk, or by keeping the very
// chunk that it was received into, without a copy; if more of that one is to be handled, in a large chunk.
void Connections::keep(slot::Journal::Redo& redo, Connection target, Bytes bytes) {
    const uint64_t out = target->out;
    redo.set(&target->out_bytes, target->out_bytes + bytes.count);
    if (out != 0) {
        ChunkLink& last = chunks_.link(last_of(out));
        const uint32_t end = last_of(last.range);
        if (chunks_.bytes(last_of(out)) - end >= bytes.count) {
            std::memcpy(chunks_.data(last_of(out)) + end, memory_.base() + bytes.at, bytes.count);
            return redo.set(&last.range, pack_pair(first_of(last.range), end + bytes.count));
        }
    }
    ChunkId chunk;
    if (bytes.count <= slot::kSmallChunkBytes) {
        chunk = chunks_.take_small();
        std::memcpy(chunks_.data(chunk), memory_.base() + bytes.at, bytes.count);
        chunks_.link(chunk).range = pack_pair(0, bytes.count);
    } else if (!is_last_step(redo)) {
        chunk = chunks_.take_large();
        std::memcpy(chunks_.data(chunk), memory_.base() + bytes.at, bytes.count);
        chunks_.link(chunk).range = pack_pair(0, bytes.count);
    } else {
        chunk = static_cast<ChunkId>(journal_.page().receive_chunk);
        const auto begin = static_cast<uint32_t>(memory_.base() + bytes.at - chunks_.data(chunk));
        chunks_.link(chunk) = {0, pack_pair(begin, begin + bytes.count)};
        redo.set(&journal_.page().receive_chunk, chunks_.take_large());
    }
    if (out != 0) redo.set(&chunks_.link(last_of(out)).next, chunk);
    redo.set(&target->out, pack_pair(out != 0 ? first_of(out) : chunk, chunk));
}

void Connections::flush(Connection c) {
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
    const ChunkId first = first_of(c->out);
    slot::Journal::Redo redo(journal_);
    redo.set(&c->sent, c->sent + sent);
    redo.set(&c->out_bytes, c->out_bytes - sent);
    ChunkId id = first;
    for (uint32_t left = sent; id != 0;) {
        ChunkLink& link = chunks_.link(id);
        const uint32_t bytes = last_of(link.range) - first_of(link.range);
        if (left < bytes) {
            redo.set(&link.range, pack_pair(first_of(link.range) + left, last_of(link.range)));
            break;
        }
        left -= bytes;
        id = static_cast<ChunkId>(link.next);
    }
    if (id != first) redo.set(&c->out, id == 0 ? 0 : pack_pair(id, last_of(c->out)));
    redo.commit();
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
    const Connection source = rules_of(c)->handler->source_of(c);
    if (source) press_back(source, c);
    if (!c.has_output()) return advance(c);
}

void Connections::on_send_error(Connection target, int error) {
    journal_.publish_idle();
    on_error(target, error);
}

// Reading stops over the high-water mark of what takes the bytes and goes on below the low one.
void Connections::press_back(Connection source, Connection sink) {
    const Rules& rules = *rules_of(sink);
    const bool paused = source.has(slot::kPaused);
    if (!paused && sink->out_bytes > rules.output_high_bytes) {
        source.set(slot::kPaused);
    } else if (paused && sink->out_bytes <= rules.output_low_bytes) {
        source.set(slot::kPaused, false);
    } else {
        return;
    }
    update_interest(source);
}

}  // namespace tcpd::worker
