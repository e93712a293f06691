// How connections end: ends of input passed on, pairs that are complete, resets, and the last breath of each.

#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "daemon/base/fault_point.h"
#include "daemon/base/log.h"
#include "daemon/base/net/address.h"
#include "daemon/base/text.h"
#include "worker/net/close_line.h"
#include "worker/net/connections.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::State;

namespace {

// What a unix socket was given lies with the other end already.
bool has_unacknowledged(Connection c) {
    int bytes = 0;
    return c.is_tcp() && ioctl(c.fd(), SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

// Sends RST now, whoever else still holds the file: connect(2) to AF_UNSPEC dissolves the association.
void disconnect(int fd) {
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    connect(fd, &nobody, sizeof nobody);
}

}  // namespace

void Connections::advance(Connection c) {
    if (c.state() == State::doomed) return finish(c);
    if (c.state() != State::open) return update_interest(c);
    if (c.has(slot::kClosing)) return go_on_closing(c);
    if (!pass_end(c)) return;
    const Connection source = rules_of(c)->handler->source_of(c);
    if (source && !(source == c) && source.state() == State::open && !pass_end(source)) return;
    update_interest(c);
    arm(c);
    if (source && !(source == c)) {
        update_interest(source);
        arm(source);
    }
}

// Passes the end of `from`'s input on to what takes it, once all bytes before it are out. False: it was the
// last thing to do, and the connections are gone.
bool Connections::pass_end(Connection from) {
    if (!from.has(slot::kEndIn)) return true;
    if (from.has(slot::kFailed)) return pass_failure(from);
    const Connection sink = rules_of(from)->handler->sink_of(from);
    if (!sink || (sink == from && !sink.has_output())) {
        end(from, CloseReason::finished);
        return false;
    }
    if (sink.has_output()) return true;
    if (!sink.has(slot::kEndOut)) {
        if (rules_of(sink)->handler->say_last_word(sink)) return false;
        if (sink.has_output()) return true;
        shut(sink);
    }
    if (!sink.has(slot::kEndIn) && rules_of(from)->handler->close_if_answered(from)) return false;
    if (!from.has(slot::kEndOut) || !sink.has(slot::kEndIn)) return true;
    end(from, CloseReason::finished);
    return false;
}

// An RST overtakes what it follows, so that waits until the other end has it.
bool Connections::pass_failure(Connection from) {
    const Connection sink = rules_of(from)->handler->sink_of(from);
    const bool takes = sink && !(sink == from) && sink.state() == State::open && !sink.has(slot::kFailed);
    if (takes && (sink.has_output() || has_unacknowledged(sink))) return true;
    end(from, static_cast<CloseReason>(from.word().reason), true);
    return false;
}

uint64_t Connections::quarantine_key(Connection c) const {
    const std::string_view identity = rules_of(c)->handler->identity_of(c);
    return identity.empty() ? key_of(c) : addresses_.key_of_name(c->owner, identity);
}

void Connections::begin_closing(slot::Changes& changes, Connection c, CloseReason reason,
                                slot::RecordWord word) {
    word.flags |= slot::kClosing;
    word.reason = static_cast<uint8_t>(reason);
    changes.set(&c->word, word.pack());
    c->ended_tick = now_;
    c->dropped = 0;
}

void Connections::go_on_closing(Connection c) {
    if (const Connection peer = peer_of(c)) leave_peer(c, peer);
    // Nobody is left to take its last word.
    if (c.has(slot::kFailed)) return end(c, static_cast<CloseReason>(c.word().reason), true);
    if (!c.has_output()) {
        if (c.has(slot::kEndIn)) return end(c, static_cast<CloseReason>(c.word().reason));
        if (!c.has(slot::kEndOut)) {
            c->ended_tick = now_;
            shut(c);
        }
    }
    update_interest(c);
    arm(c);
}

// The server of a client that is closing learns by RST that what it has may not be all, if it is not.
void Connections::leave_peer(Connection c, Connection peer) {
    take_in_hand(c);
    slot::Changes changes(memory_);
    doom(changes, peer, CloseReason::finished, !peer.has(slot::kEndOut) || peer.has_output());
    changes.set(&c->peer, kNoPeer);
    journal_.commit(changes);
    finish(peer);
}

void Connections::shut(Connection c) {
    await_answer(c);
    c.set(slot::kEndOut);
    FAULT_POINT(shutdown_published_not_called);
    shutdown(c.fd(), SHUT_WR);
    FAULT_POINT(shutdown_called);
}

void Connections::doom(slot::Changes& changes, Connection c, CloseReason reason, bool reset) {
    changes.change<slot::RecordWord>(&c->word, [reason, reset](auto& word) {
        word.state = State::doomed;
        word.reason = static_cast<uint8_t>(reason);
        if (reset) word.flags |= slot::kReset;
    });
}

void Connections::doom_at_once(Connection c, CloseReason reason) {
    const Connection peer = peer_of(c);
    for (const Connection one : {peer, c}) {
        if (!one) continue;
        slot::RecordWord word = one.word();
        word.state = State::doomed;
        word.reason = static_cast<uint8_t>(reason);
        word.flags |= slot::kReset;
        *static_cast<volatile uint64_t*>(&one->word) = word.pack();
    }
}

void Connections::end(Connection c, CloseReason reason, bool reset) {
    take_in_hand(c);
    const Connection peer = peer_of(c);
    if (c.has_output() || (peer && peer.has_output())) reset = true;
    slot::Changes changes(memory_);
    doom(changes, c, reason, reset);
    if (peer) doom(changes, peer, reason, reset);
    journal_.commit(changes);
    FAULT_POINT(close_marked_not_begun);
    finish(c);
    FAULT_POINT(close_between_pair);
    if (peer) finish(peer);
}

void Connections::end_dial(Connection dialled) {
    const Connection client = peer_of(dialled);
    slot::Changes changes(memory_);
    doom(changes, dialled, CloseReason::upstream_refused, false);
    if (client) changes.set(&client->peer, kNoPeer);
    journal_.commit(changes);
    FAULT_POINT(close_marked_not_begun);
    finish(dialled);
}

bool Connections::files_are_ours() const {
    const slot::MasterControl& master = memory_.master_control();
    return master.other_tables.load(std::memory_order_relaxed) == 0 &&
           master.reaped_seats.load(std::memory_order_relaxed) + 1 >=
               memory_.worker_control().seats_taken.load(std::memory_order_relaxed);
}

void Connections::finish(Connection c) {
    ended_in_round_ = true;
    if (c.has(slot::kReset)) disconnect(c.fd());
    if (!files_are_ours()) {
        poller_.remove(c.fd());
        shutdown(c.fd(), SHUT_RDWR);
    }
    FAULT_POINT(close_unregistered);
    close(c.fd());
    FAULT_POINT(close_done_not_published);
    if (!c.is_dialled()) log_end(c);
    rules_of(c)->handler->on_end(c);
    publish_free(c);
    deadlines_.cancel(c.fd());
    for (auto id = static_cast<slot::ChunkId>(c->out >> 32); id != 0;) {
        const auto next = static_cast<slot::ChunkId>(chunks_.link(id).next);
        chunks_.release(id);
        id = next;
    }
    --open_;
}

void Connections::forget(Connection c) {
    poller_.remove(c.fd());
    shutdown(c.fd(), SHUT_RDWR);
    close(c.fd());
    slot::RecordWord word = c.word();
    word.state = State::free;
    c->word = word.pack();
    --open_;
}

void Connections::publish_free(Connection c) {
    slot::RecordWord word = c.word();
    const size_t reason = word.reason;
    word.state = State::free;
    slot::Changes changes(memory_);
    changes.set(&c->word, word.pack());
    if (!c.is_dialled()) {
        const Rules& rules = *rules_of(c);
        slot::ListenerCounters& counters = *rules.counters;
        changes.set(&counters.open, counters.open - 1);
        changes.set(&counters.closed[reason], counters.closed[reason] + 1);
        changes.set(&counters.received_bytes, counters.received_bytes + c->received);
        changes.set(&counters.sent_bytes, counters.sent_bytes + c->sent);
        counts_.open(c->owner, memory_.slot_number())
            .store(static_cast<uint32_t>(counters.open - 1), std::memory_order_relaxed);
        counts_.steered(memory_.slot_number()).fetch_sub(1, std::memory_order_relaxed);
        if (rules.connections_per_ip != 0) addresses_.remove(key_of(c));
    }
    journal_.commit(changes);
}

void Connections::log_end(Connection c) {
    if (log::enabled(log::Level::info)) write_close_line(c, *rules_of(c), now_ns_);
}

}  // namespace tcpd::worker
