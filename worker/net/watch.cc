// Connections as they begin, and what is then waited for: events by epoll, and time.

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/clock.h"
#include "daemon/base/fault_point.h"
#include "worker/net/connections.h"
#include "worker/net/socket_counts.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::State;
using slot::Tick;

namespace {

constexpr Tick kLingerTicks = 60;    // 1 s, from the end of our output to the end of a connection that closes
constexpr Tick kDialRetryTicks = 6;  // 100 ms after a local fault
// Between two looks at the clock.
constexpr uint32_t kEndsALook = 8, kArmedALook = 256;
constexpr Tick kLookTicks = 60;  // 1 s, between two looks at who is not read

// A point in the drain's second half.
uint64_t spread_point(uint64_t id, uint64_t begin_ns, uint64_t until_ns) {
    const uint64_t from_ns = begin_ns + (until_ns - begin_ns) / 2;
    return from_ns + share_of(id, until_ns - from_ns);
}

Tick later(Tick a, Tick b) { return static_cast<int32_t>(a - b) < 0 ? b : a; }

// What it sends meanwhile waits in the kernel: its silence says nothing. What is for a `sink` that failed is never read.
bool is_unheard(Connection c, Connection sink) {
    return c.has(slot::kPaused | slot::kThrottled) && !c.has(slot::kEndIn) &&
           !(sink && sink.has(slot::kFailed));
}

// What is there for whoever was reset, nobody takes any more.
bool has_takers_output(Connection c) { return c.has_output() && !c.has(slot::kFailed); }

// Without an event for it, as of who is not read.
bool has_only_end_unread(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

}  // namespace

// All fields, but free until `word` is published. Handlers prepare it as what it will be, not as the kind
// of connection that had the descriptor before: what was dialled needs no token.
Connection Connections::place(int fd, const slot::Record& fields, slot::RecordWord* word) {
    const Connection c(fd, &record(fd));
    const auto former = c.word().generation;
    *word = slot::RecordWord::unpack(fields.word);
    slot::RecordWord now_free = *word;
    now_free.state = State::free;
    now_free.generation = former;
    word->generation = former + 1 == kListenerGeneration ? 1 : former + 1;
    c.record() = fields;
    c->needs = rules_of(fields.owner)->needs;
    memory_.raise_needs(c->needs);
    c->word = now_free.pack();
    auto& high = memory_.worker_control().high_fd;
    if (high.load(std::memory_order_relaxed) <= static_cast<uint32_t>(fd)) {
        high.store(static_cast<uint32_t>(fd) + 1, std::memory_order_release);
    }
    return c;
}

Connection Connections::publish_accepted(int fd, const slot::Record& fields, slot::JournalWord after) {
    slot::RecordWord word;
    const Connection c = place(fd, fields, &word);
    Handler* handler = rules_of(fields.owner)->handler;
    handler->prepare(c);
    if (handler->needs_peer(c)) word.state = State::waiting;
    journal_.take_in_hand(fd, word.generation, 0, 0);
    slot::ListenerCounters& counters = *rules_of(fields.owner)->counters;
    slot::Changes changes(memory_);
    changes.set(&c->word, word.pack());
    changes.set(&counters.accepted, counters.accepted + 1);
    changes.set(&counters.open, counters.open + 1);
    journal_.commit(changes, after);
    counts_.open(fields.owner, memory_.slot_number())
        .store(static_cast<uint32_t>(counters.open), std::memory_order_relaxed);
    ++open_;
    return c;
}

Connection Connections::publish_dialled(int fd, const slot::Record& fields, Connection client) {
    slot::RecordWord word;
    const Connection c = place(fd, fields, &word);
    rules_of(fields.owner)->handler->prepare(c);
    journal_.take_in_hand(client.fd(), client.generation(), fd, word.generation);
    slot::Changes changes(memory_);
    changes.set(&c->word, word.pack());
    changes.set(&client->peer, uint64_t{static_cast<uint32_t>(fd)} << 32 | word.generation);
    journal_.commit(changes);
    ++open_;
    return c;
}

void Connections::publish_dial_done(Connection dialled, Connection client) {
    slot::Changes changes(memory_);
    open_pair(changes, dialled, client);
    journal_.commit(changes);
    advance(dialled);
}

void Connections::open_pair(slot::Changes& changes, Connection dialled, Connection client) {
    FAULT_POINT(dial_connected_not_published);
    const auto open = [](slot::RecordWord& word) { word.state = State::open; };
    changes.change<slot::RecordWord>(&dialled->word, open);
    changes.change<slot::RecordWord>(&client->word, open);
    dialled->active_tick = client->active_tick = client->input_tick = now_;
}

void Connections::watch(Connection c) {
    const uint32_t events = wanted(c);
    poller_.add({c.fd(), c.generation()}, events);
    c->interest = static_cast<uint8_t>(events);
    arm(c);
}

uint32_t Connections::wanted(Connection c) const {
    const slot::RecordWord word = c.word();
    if (word.state == State::dialing) return EPOLLOUT;
    if (word.state != State::open) return 0;
    const bool failed = (word.flags & slot::kFailed) != 0;
    uint32_t events = c.has_output() && !failed ? static_cast<uint32_t>(EPOLLOUT) : 0;
    uint32_t unread = slot::kEndIn | slot::kPaused | slot::kThrottled;
    if ((word.flags & slot::kClosing) != 0) unread = c.has_output() ? slot::kClosing : slot::kEndIn;
    if ((word.flags & unread) != 0) return events;
    const Connection peer = peer_of(c);
    return peer && peer.has(slot::kFailed) ? events : events | EPOLLIN;
}

void Connections::update_interest(Connection c) {
    uint32_t events = wanted(c);
    if ((events & EPOLLIN) != 0 && !starved_.empty() &&
        std::find(starved_.begin(), starved_.end(), c.tag()) != starved_.end()) {
        events &= ~static_cast<uint32_t>(EPOLLIN);
    }
    const uint16_t both = slot::kEndIn | slot::kEndOut;
    if ((c.word().flags & both) == both && events == 0) {
        if (!c.has(slot::kUnregistered)) poller_.remove(c.fd());
        c.set(slot::kUnregistered);
        c->interest = 0;
        return;
    }
    if (events == c->interest && (events == 0 || !c.has(slot::kUnregistered))) return;
    // Until now it could not be heard.
    if ((events & ~c->interest & EPOLLIN) != 0) {
        c->active_tick = now_;
        if (const Connection peer = peer_of(c)) arm(peer);
    }
    FAULT_POINT(interest_before_change);
    poller_.change({c.fd(), c.generation()}, events);
    c->interest = static_cast<uint8_t>(events);
    if (c.has(slot::kUnregistered)) c.set(slot::kUnregistered, false);
}

void Connections::rewatch(Connection c) {
    if (c.state() == State::free || c.state() == State::doomed) return;
    c.set(slot::kUnregistered, false);
    const uint32_t events = wanted(c);
    poller_.change({c.fd(), c.generation()}, events);
    c->interest = static_cast<uint8_t>(events);
    update_interest(c);
}

// No interest is told any more, which a successor sees as well; then each is told again.
void Connections::watch_all_anew() {
    constexpr uint8_t kUntold = 0xFF;  // nothing that is ever wanted
    needs_new_poller_ = false;
    ++memory_.counters().poller_rebuilt;
    const uint32_t end = memory_.end_of_records();
    for (uint32_t fd = 1; fd < end; ++fd) record(static_cast<int>(fd)).interest = kUntold;
    for (uint32_t fd = 1; fd < end; ++fd) {
        if (const Connection c = at(static_cast<int>(fd))) rewatch(c);
    }
}

Connections::Due Connections::next_due(Connection c) const {
    const Rules& rules = *rules_of(c);
    const slot::RecordWord word = c.word();
    Due next;
    const auto consider = [&](Due::What what, int32_t left, CloseReason why = CloseReason::none) {
        if (left < next.left) next = {left, what, why};
    };
    const auto left_of = [&](Tick from, Tick limit) { return static_cast<int32_t>(from + limit - now_); };
    // A limit of 0 is none.
    const auto consider_end = [&](Tick from, Tick limit, CloseReason why) {
        if (limit != 0) consider(Due::What::end, left_of(from, limit), why);
    };
    if (word.state == State::dialing && rules.dial != 0) {
        consider(Due::What::dial_timeout, left_of(c->ended_tick, rules.dial));
    }
    if (word.state == State::waiting && c->peer == kNoPeer) {
        consider(Due::What::dial_again, left_of(c->active_tick, kDialRetryTicks));
    }
    const bool closes = (word.flags & slot::kClosing) != 0;
    if (word.state == State::open && closes) {
        const auto reason = static_cast<CloseReason>(word.reason);
        if (c.has_output()) {
            consider_end(c->progress_tick, rules.slow_reader, CloseReason::slow_reader);
            consider_end(c->ended_tick, rules.closing, CloseReason::closing_timeout);
        } else {
            consider_end(c->ended_tick, kLingerTicks, reason);
        }
    } else if (word.state == State::open) {
        const Connection peer = peer_of(c);
        const bool ended = (word.flags & slot::kEndIn) != 0;
        const bool both = ended && (!peer || peer.has(slot::kEndIn));
        const bool drains = has_takers_output(c) || (peer && has_takers_output(peer));
        const bool unheard = is_unheard(c, peer) || (peer && is_unheard(peer, c));
        const Tick active = peer ? later(c->active_tick, peer->active_tick) : c->active_tick;
        if (!unheard) consider_end(active, rules.idle, CloseReason::idle);
        if (c.has(slot::kFailed) && c.has(slot::kEndIn)) consider(Due::What::look, 1);
        if (c.has(slot::kThrottled) && !ended) consider(Due::What::look, kLookTicks);
        if (has_takers_output(c)) consider_end(c->progress_tick, rules.slow_reader, CloseReason::slow_reader);
        if (both) {
            const Tick since = peer ? later(c->ended_tick, peer->ended_tick) : c->ended_tick;
            consider_end(since, rules.closing, CloseReason::closing_timeout);
        }
        if (ended && !both && !c.has(slot::kFailed) && rules.closing != 0 &&
            rules.handler->has_last_word(c)) {
            consider(Due::What::last_word, left_of(c->ended_tick, rules.closing));
        }
        // What is on its way still is slow_reader's.
        if ((ended || c.has(slot::kFailed)) && !both && !drains && !unheard) {
            consider_end(later(c->ended_tick, active), rules.half_close, CloseReason::half_closed);
        }
    }
    // Those that are due sooner are armed by the look before.
    if (is_looked_at(c)) {
        consider(Due::What::peer, static_cast<int32_t>(std::max(patience_of(c).period(), kLookTicks)));
    }
    if (!c.is_dialled() && !closes) {
        const DrainTime drain = drain_of(c);
        const bool spread = drain.spread && !rules.handler->says_goodbye();
        const uint64_t at_ns = spread ? spread_point(c->id, drain.begin_ns, drain.until_ns) : drain.until_ns;
        if (drain.until_ns != 0) {
            consider_end(slot::to_tick(at_ns), 1, spread ? CloseReason::drained : CloseReason::drain_timeout);
        }
    }
    if (word.state == State::open && !closes) consider(Due::What::handler, rules.handler->ticks_left(c));
    return next;
}

void Connections::arm(Connection c) {
    const int32_t left = next_due(c).left;
    if (left != kNoDeadline) deadlines_.arm(c.fd(), now_ + static_cast<Tick>(std::max(left, 0)));
}

bool Connections::look_at_deadlines(uint64_t until_ns) {
    uint32_t looks = 0;
    return deadlines_.expire_some(now_, [&](int fd) {
        on_deadline(fd);
        return ++looks % kEndsALook != 0 || monotonic_ns() < until_ns;
    });
}

void Connections::on_deadline(int fd) {
    const Connection c = at(fd);
    if (!c) return;
    take_in_hand(c);
    if (is_looked_at(c) && c.state() == State::open && !look_at_peer(c)) return;
    const Due due = next_due(c);
    if (due.what == Due::What::look && c.has(slot::kFailed)) return advance(c);
    if (due.what == Due::What::look && !rules_of(c)->handler->keeps_input(c) && has_only_end_unread(fd)) {
        c.set(slot::kThrottled, false);
        return update_interest(c);
    }
    if (due.left > 0) {
        if (due.left != kNoDeadline) deadlines_.arm(fd, now_ + static_cast<Tick>(due.left));
        return;
    }
    switch (due.what) {
        case Due::What::dial_timeout: return rules_of(c)->handler->on_dial_failed(c, ETIMEDOUT);
        case Due::What::dial_again: return rules_of(c)->handler->on_accepted(c);
        case Due::What::handler: return on_handler_due(c);
        case Due::What::end: return on_end_due(c, due.why);
        case Due::What::last_word: return (void)rules_of(c)->handler->say_last_word(c);
        case Due::What::look:
        case Due::What::peer: return;
    }
}

Patience Connections::patience_of(Connection c) const {
    const Rules& rules = *rules_of(c);
    const bool is_done_with = c.has(slot::kClosing | slot::kFailed);  // that has limits of its own
    return {c.is_dialled() ? rules.server_gone : rules.client_gone, is_done_with ? 0 : rules.slow_reader};
}

bool Connections::is_looked_at(Connection c) const {
    if (c->awaited == 0 || !c.is_tcp() || patience_of(c).gone == 0) return false;
    return !(c.has(slot::kFailed) && c.has(slot::kEndIn));  // what is left of it ends by itself
}

void Connections::begin_to_await(Connection c) {
    c->awaited = slot::kAwaited;
    if (!c.has_output()) c->progress_tick = now_;
    if (is_looked_at(c)) deadlines_.arm(c.fd(), now_ + patience_of(c).period());
}

// Whatever the wheel comes by for, and within the period. False: that ended it.
bool Connections::look_at_peer(Connection c) {
    PeerSigns signs = read_signs(c.fd());
    // Its window may have been closed long before there was anything for it.
    signs.sent = std::min(signs.sent, now_ - c->progress_tick);
    Tick unanswered = static_cast<uint16_t>(now_ - c->awaited_since);
    // What was due when it was asked last, it has answered since then.
    const bool is_old = c->awaited == slot::kUnanswered && unanswered <= signs.heard;
    if (!signs.is_unanswered || !is_old) {
        c->awaited_since = static_cast<uint16_t>(now_);
        c->awaited = signs.is_unanswered ? slot::kUnanswered : slot::kAwaited;
        unanswered = 0;
    }
    const PeerVerdict verdict = judge(signs, patience_of(c), unanswered);
    switch (verdict.what) {
        case PeerVerdict::What::settled: c->awaited = 0; return true;
        case PeerVerdict::What::waits: deadlines_.arm(c.fd(), now_ + verdict.again); return true;
        case PeerVerdict::What::slow: end(c, CloseReason::slow_reader, true); return false;
        case PeerVerdict::What::gone: on_gone(c); return false;
    }
    return true;
}

// The kernel tells of room for more only when much of its buffer was taken, and of what was taken last not at
// all.
bool Connections::sees_output_taken(Connection c, bool at_first) {
    int held = 0;
    if (ioctl(c.fd(), SIOCOUTQ, &held) != 0) return false;
    const uint32_t taken = held > 0 ? static_cast<uint32_t>(c->sent) - static_cast<uint32_t>(held) : 0;
    if (taken == c->taken) return false;
    const bool is_seen = c->taken != 0 || at_first;
    c->taken = taken;
    c->active_tick = c->progress_tick = now_;  // or some time before: nobody knows
    return is_seen;
}

void Connections::on_end_due(Connection c, CloseReason why) {
    if (why == CloseReason::idle || why == CloseReason::half_closed || why == CloseReason::slow_reader) {
        const Connection peer = why == CloseReason::slow_reader ? Connection() : peer_of(c);
        const bool peer_takes = peer && sees_output_taken(peer, true);
        if (sees_output_taken(c, true) || peer_takes) return arm(c);
    }
    // Its server keeps its end open, and has had its time for the replies.
    if (why == CloseReason::half_closed && !c.has(slot::kFailed)) {
        const bool had_output = c.has_output();
        if (rules_of(c)->handler->say_last_word(c)) return;
        if (!had_output && c.has_output()) {
            slot::Changes changes(memory_);
            begin_closing(changes, c, why);
            journal_.commit(changes);
            return advance(c);
        }
    }
    end(c, why, why == CloseReason::slow_reader || why == CloseReason::closing_timeout);
}

void Connections::on_handler_due(Connection c) {
    const uint64_t tag = c.tag();
    rules_of(c)->handler->on_due(c);
    if (c.tag() == tag && c.state() == State::open) arm(c);
}

Connections::DrainTime Connections::drain_of(Connection c) const {
    const Rules& rules = *rules_of(c);
    const DrainTime own{rules.drain_begin_ns, rules.drain_until_ns, rules.drain_spread};
    const DrainTime all{drain_begin_ns_, drain_until_ns_, drain_spread_};
    if (own.begin_ns == 0 || all.begin_ns == 0) return own.begin_ns == 0 ? all : own;
    if (own.until_ns == 0 || all.until_ns == 0) return own.until_ns == 0 ? all : own;
    return own.until_ns < all.until_ns ? own : all;
}

void Connections::retry_starved() {
    if (starved_.empty() || !have_receive_chunk()) return;
    std::vector<uint64_t> again;
    again.swap(starved_);
    for (const uint64_t tag : again) {
        const Connection c = with_tag(tag);
        if (!c) continue;
        take_in_hand(c);
        update_interest(c);
    }
}

void Connections::begin_drain(uint64_t begin_ns, uint64_t until_ns, bool spread) {
    drain_begin_ns_ = begin_ns;
    drain_until_ns_ = until_ns;
    drain_spread_ = spread;
    armed_to_ = 0;
}

bool Connections::arm_some(uint64_t slice_end_ns) {
    const uint32_t end = memory_.end_of_records();
    while (armed_to_ < end) {
        if (const Connection c = at(static_cast<int>(armed_to_)); c && !c.is_dialled()) arm(c);
        if (++armed_to_ % kArmedALook == 0 && monotonic_ns() >= slice_end_ns) return false;
    }
    armed_to_ = ~uint32_t{0};
    return true;
}

bool Connections::end_some(CloseReason reason, int* next, uint64_t slice_end_ns) {
    const auto last = static_cast<int>(memory_.end_of_records());
    for (uint32_t ended = 0; *next < last; ++*next) {
        const Connection c = at(*next);
        if (!c || c.is_dialled()) continue;
        if (ended == kEndsALook && monotonic_ns() >= slice_end_ns) return false;
        ended = ended % kEndsALook + 1;
        end(c, reason);
    }
    return true;
}

}  // namespace tcpd::worker
