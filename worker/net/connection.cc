// From an event to the handler. The twin of this file is output.cc.

#include "worker/net/connection.h"

#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "daemon/base/error.h"
#include "daemon/base/fault_point.h"
#include "daemon/slot/control_message.h"
#include "worker/net/connections.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::State;

namespace {
// What a step may have changed, and what follows from it is not done yet.
constexpr uint16_t kUnsettled =
    slot::kClosing | slot::kEndIn | slot::kEndOut | slot::kThrottled | slot::kFailed;

bool has_unread(int fd) {
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}
}  // namespace

Connections::Connections(slot::SlotMemory& memory, slot::SharedCounts& counts, slot::AddressCounts& addresses,
                         int buffers_fd, int poller_fd)
    : memory_(memory),
      counts_(counts),
      addresses_(addresses),
      journal_(memory),
      chunks_(memory, buffers_fd, counts),
      numbers_(memory.record_count()),
      poller_(poller_fd),
      deadlines_(memory.record_count()) {}

Connection Connections::at(int fd) const {
    if (fd < slot::kFirstListenFd || static_cast<uint32_t>(fd) >= memory_.record_count()) return {};
    const Connection c(fd, &memory_.records()[fd]);
    return c.state() == State::free ? Connection() : c;
}

Connection Connections::peer_of(Connection c) const {
    return c->peer == kNoPeer ? Connection() : with_tag(c->peer);
}

Connection Connections::with_tag(uint64_t tag) const {
    const Connection c = at(static_cast<int>(tag >> 32));
    return c && c.tag() == tag ? c : Connection();
}

bool Connections::is_current(const epoll_event& event) const {
    const PollTag tag = PollTag::unpack(event.data.u64);
    if (tag.generation == kListenerGeneration) return true;
    const Connection c = at(tag.fd);
    return c && c.generation() == tag.generation;
}

void Connections::take_in_hand(Connection c) {
    const Connection peer = peer_of(c);
    journal_.take_in_hand(c.fd(), c.generation(), peer ? peer.fd() : 0, peer ? peer.generation() : 0);
}

void Connections::on_event(const epoll_event& event) {
    const PollTag tag = PollTag::unpack(event.data.u64);
    if (static_cast<uint32_t>(tag.fd) >= memory_.record_count()) return;
    const Connection c(tag.fd, &memory_.records()[tag.fd]);
    const slot::RecordWord word = c.word();
    if (word.generation != tag.generation || word.state == State::free) return on_stale_event(tag);
    take_in_hand(c);
    if (word.state == State::dialing) return on_dial_event(c, event.events);
    const bool failed = (event.events & EPOLLERR) != 0;
    const bool is_read = (c->interest & EPOLLIN) != 0 && word.state == State::open && !c.has(slot::kClosing);
    if (failed && !is_read && !has_words(c)) return on_error(c);
    if (!failed && (event.events & EPOLLOUT) != 0 && c.has_output()) {
        flush(c);
        if (c.generation() != tag.generation || c.state() != State::open) return;
    }
    if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
    // What it sent lies before the error, which the last recv tells.
    if ((c->interest & EPOLLIN) != 0) return on_readable(c);
    if ((event.events & (EPOLLHUP | EPOLLERR)) == 0) return;
    // Both directions are over for the kernel, which says so for ever, and there is nothing to do about it
    // now.
    unregister(c);
}

void Connections::unregister(Connection c) {
    poller_.remove(c.fd());
    c->interest = 0;
    c.set(slot::kUnregistered);
}

// An event for a connection that is no more is usual in the round in which it ended. In a later one, another
// process still holds the file, so that its registration outlived our close, and no descriptor is left to
// remove it by.
void Connections::on_stale_event(PollTag tag) {
    ++memory_.counters().stale_events;
    if (!at(tag.fd)) poller_.remove(tag.fd);
    if (!ended_in_round_) needs_new_poller_ = true;
}

void Connections::on_readable(Connection c) {
    if (!have_receive_chunk()) {
        ++memory_.counters().buffer_pauses;
        starved_.push_back(c.tag());
        return update_interest(c);
    }
    const auto chunk = static_cast<slot::ChunkId>(journal_.page().receive_chunk);
    char* buffer = chunks_.data(chunk);
    journal_.publish_receiving(memory_.offset_of(buffer), chunks_.bytes(chunk));
    FAULT_POINT(recv_before);
    const ssize_t count = recv(c.fd(), buffer, most_received(c, chunk), 0);
    FAULT_POINT(recv_done_not_published);
    if (count > 0) {
        journal_.publish_received(static_cast<uint32_t>(count));
        FAULT_POINT(recv_published_not_handled);
        return hand_on(c);
    }
    journal_.publish_idle();
    if (count == 0) return on_end_of_input(c);
    if (errno != EAGAIN && errno != EINTR && !is_local_fault(errno)) on_error(c, errno);
}

// Over a budget no more than what a small chunk keeps, whatever comes of it.
uint32_t Connections::most_received(Connection c, slot::ChunkId chunk) const {
    if (!chunks_.is_over_budget()) [[likely]]
        return chunks_.bytes(chunk);
    return rules_of(c)->handler->most_received(c);
}

// Step by step, each a commit of its own; a successor goes on with what is not handled. What steps append to
// output is sent once after the last.
void Connections::hand_on(Connection source) {
    take_steps(source);
    const slot::RecordWord word = source.word();
    if (appended_to_[0] != 0 || (word.flags & kUnsettled) != 0 || word.state == State::waiting) [[unlikely]]
        push_appended(source);
}

void Connections::take_steps(Connection source) {
    slot::JournalPage& page = journal_.page();
    Handler& handler = *rules_of(source)->handler;
    const uint32_t generation = source.generation();
    source->active_tick = source->input_tick = now_;
    for (is_last_step_ = false; !is_last_step_;) {
        if (source.has(slot::kClosing)) [[unlikely]]
            return drop(source);
        const auto handled = static_cast<uint32_t>(page.handled_bytes);
        if (handled != 0 && !chunks_.ready()) return end(source, CloseReason::local_fault, true);
        const Bytes rest{page.buffer_at + handled, page.received_bytes - handled};
        FAULT_POINT(step_not_begun);
        slot::Changes changes(memory_);
        const Step step = handler.on_bytes(source, rest, changes);
        // What it took may have been the last of what was in reserve.
        if (step.addition != nullptr && !chunks_.ready()) return end(source, CloseReason::local_fault, true);
        is_last_step_ = step.consumed == rest.count && !step.asks_again;
        changes.set(&source->received, source->received + step.consumed);
        if (!is_last_step_) changes.set(&page.handled_bytes, handled + step.consumed);
        carry_out(changes, source, step);
        if (source.generation() != generation || source.state() != State::open) return;
        if (step.is_timed) arm(source);
    }
}

void Connections::carry_out(slot::Changes& changes, Connection source, const Step& step) {
    const bool appends =
        step.addition != nullptr && step.to && (step.addition->chunk != 0 || !step.addition->reply.empty());
    if (!appends && step.to && step.run.count != 0) [[likely]] {
        send_fresh(changes, source, step.to, step.run);
    } else {
        if (appends) append(changes, step.to, step.addition, step.run);
        commit_step(changes);
        if (step.to) note_appended(step.to);
    }
    if (step.addition == nullptr) [[likely]]
        return;
    for (const slot::ChunkId chunk : step.addition->spent) {
        if (chunk != 0) chunks_.release(chunk);
    }
}

// What still comes once the last word is said.
void Connections::drop(Connection source) {
    constexpr uint32_t kMostDropped = 1024 * 1024;
    const slot::JournalPage& page = journal_.page();
    const auto rest = static_cast<uint32_t>(page.received_bytes - page.handled_bytes);
    slot::Changes changes(memory_);
    changes.set(&source->received, source->received + rest);
    journal_.commit(changes);
    if (source.has(slot::kEndOut)) source->dropped += rest;
    if (source->dropped > kMostDropped) {
        end(source, static_cast<CloseReason>(source.word().reason));
    }
}

void Connections::commit_step(slot::Changes& changes) {
    if (is_last_step_) return journal_.commit(changes);
    journal_.commit(changes, {slot::Phase::received, journal_.page().received_bytes});
}

void Connections::on_end_of_input(Connection c) {
    if (c.has(slot::kFailed)) return on_error(c, ECONNRESET);
    c->ended_tick = now_;
    c.set(slot::kEndIn);
    advance(c);
}

// What was received of it is passed on first; then what its bytes go to ends as it did.
void Connections::on_error(Connection c, int error) {
    const CloseReason reason = reason_of(c, error);
    if (!passes_on(c)) return end(c, reason, true);
    fail(c, reason, slot::kFailed | slot::kEndIn);
    unregister(c);
    advance(c);
}

// Nothing goes out to it any more, but what it had sent may be there still.
void Connections::on_send_error(Connection c, int error) {
    if (!passes_on(c) || c.has(slot::kEndIn)) return on_error(c, error);
    fail(c, reason_of(c, error), slot::kFailed);
    update_interest(c);
    if (const Connection peer = peer_of(c)) update_interest(peer);
    arm(c);
}

// The kernel has not given it up yet, so that no event tells when the last of what it had sent is read.
void Connections::on_gone(Connection c) {
    if (!has_words(c)) return on_error(c, ETIMEDOUT);
    on_send_error(c, ETIMEDOUT);
    if (!c.has(slot::kEndIn)) deadlines_.arm(c.fd(), now_ + kAnswerTicks);
}

// Whether its input goes to a connection that can take it.
bool Connections::passes_on(Connection c) const {
    if (c.state() != State::open || c.has(slot::kClosing)) return false;
    const Connection sink = rules_of(c)->handler->sink_of(c);
    return sink && !(sink == c) && sink.state() == State::open && !sink.has(slot::kFailed);
}

// Whether there is more of its input, in the kernel or kept for later, for a connection that takes it; or, in the kernel,
// for one that is still dialled. A client that was to be told who it is, and left before that, has nothing kept for it.
bool Connections::has_words(Connection c) const {
    if (c.has(slot::kEndIn)) return false;
    if (c.state() == State::waiting) return has_unread(c.fd());
    return passes_on(c) && (has_unread(c.fd()) || rules_of(c)->handler->keeps_input(c));
}

// What ends it is the first that was told.
void Connections::fail(Connection c, CloseReason reason, uint16_t flags) {
    slot::RecordWord word = c.word();
    if ((word.flags & slot::kFailed) == 0) word.reason = static_cast<uint8_t>(reason);
    word.flags |= flags;
    c->word = word.pack();
    c->ended_tick = now_;
}

void Connections::resume_reset(Connection c) {
    fail(c, c.is_dialled() ? CloseReason::upstream_reset : CloseReason::peer_reset, slot::kFailed);
}

CloseReason Connections::reason_of(Connection c, int error) const {
    if (c.has(slot::kFailed)) return static_cast<CloseReason>(c.word().reason);
    socklen_t length = sizeof error;
    if (error == 0) getsockopt(c.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH) return CloseReason::unreachable;
    return c.is_dialled() ? CloseReason::upstream_reset : CloseReason::peer_reset;
}

void Connections::on_dial_event(Connection c, uint32_t events) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error == 0 && c.is_tcp() && (events & (EPOLLERR | EPOLLHUP)) != 0) error = ECONNREFUSED;
    Handler* handler = rules_of(c)->handler;
    if (error != 0 && !has_unread(c.fd())) return handler->on_dial_failed(c, error);
    // It was there, said something and reset.
    if (error != 0) fail(c, reason_of(c, error), slot::kFailed);
    handler->on_dialled(c);
}

}  // namespace tcpd::worker
