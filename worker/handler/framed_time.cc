// What is due when: heartbeats, frames that stall, late authentication, drains, rates.

#include <algorithm>

#include "worker/handler/framed.h"
#include "worker/net/rules.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::Tick;

namespace {

constexpr Tick kAgainTicks = 6;  // 100 ms, where a frame that is passed on is in the way
constexpr uint64_t kMostLastWordNs = 1'000'000'000;

int32_t until(Tick due, Tick now) { return static_cast<int32_t>(due - now); }

// Otherwise silence says nothing: what it sends waits in the kernel, or it said that nothing more comes.
bool is_heard(Connection c) {
    return !c.has(slot::kEndIn | slot::kEndOut | slot::kPaused | slot::kThrottled);
}

// An upstream that had the end of its input owes replies all the same.
bool may_stall(Connection c) {
    return c.is_dialled() ? !c.has(slot::kEndIn | slot::kPaused | slot::kThrottled) : is_heard(c);
}

}  // namespace

bool Framed::stalls(Connection c, Session session) const {
    return frame_ != 0 && session.is_inside_frame() && may_stall(c) &&
           until(c->input_tick + frame_, connections_.now()) <= 0;
}

// Where its messages came too fast, until they no longer did; where it began one for which there was no memory,
// until there is.
Tick Framed::held_back_ticks(Connection c) const {
    const Session session = session_of(c);
    const bool is_over = session.is_inside_frame() && connections_.chunks().is_over_budget();
    const Tick rate = ticks_of(rate_.wait_ns(session.record().rate_ns, connections_.now_ns()));
    return is_over ? std::max(rate, kAgainTicks) : rate;
}

// What is to be told next, if anything is.
bool Framed::find_goodbye(Connection c, slot::SessionWord word, Goodbye* found) const {
    const Connections::DrainTime drain = connections_.drain_of(c);
    if (!is_tcpd_ || drain.begin_ns == 0) return false;
    if (drain.until_ns == 0) {
        *found = {slot::to_tick(drain.begin_ns), kNoEnd};
        return word.grace_end == 0;
    }
    const uint64_t all_ns = drain.until_ns - drain.begin_ns;
    const uint64_t wait_ns = drain.spread ? share_of(c->id, all_ns / 2) : 0;
    found->at = slot::to_tick(drain.begin_ns + wait_ns);
    found->end = slot::to_tick(drain.until_ns - std::min(all_ns / 10, kMostLastWordNs)) | 1;
    if (word.grace_end == 0 || word.grace_end == kNoEnd) return true;
    return until(found->end, word.grace_end) < -1;
}

int32_t Framed::ticks_left(Connection c) const {
    const Session session = session_of(c);
    const slot::SessionWord word = session.word();
    const Tick now = connections_.now();
    int32_t left = kNoDeadline;
    if (frame_ != 0 && session.is_inside_frame() && may_stall(c)) left = until(c->input_tick + frame_, now);
    if (c.is_dialled()) return left;
    if (is_held_back(c)) left = std::min(left, static_cast<int32_t>(held_back_ticks(c)));
    if (!session.is_active() && auth_ != 0) {
        left = std::min(left, until(slot::to_tick(c->opened_ns) + auth_, now));
    }
    if (session.is_active() && heartbeat_ != 0 && is_heard(c)) {
        const int32_t soonest = is_reply_open(c) ? static_cast<int32_t>(kAgainTicks) : 0;
        const Tick due = c->input_tick + heartbeat_ * (word.pings + 1u);
        left = std::min(left, std::max(soonest, until(due, now)));
    }
    Goodbye goodbye;
    if (find_goodbye(c, word, &goodbye)) {
        left = std::min(left, until(goodbye.at, now));
    } else if (word.grace_end != 0 && word.grace_end != kNoEnd && !word.has(slot::kLastWord)) {
        const int32_t soonest = may_end(c) ? 0 : static_cast<int32_t>(kAgainTicks);
        left = std::min(left, std::max(soonest, until(word.grace_end, now)));
    }
    return left;
}

void Framed::on_due(Connection c) {
    const Session session = session_of(c);
    const slot::SessionWord word = session.word();
    const Tick now = connections_.now();
    if (stalls(c, session)) {
        return end_late(c, FrameError::malformed, "the frame stalled", CloseReason::stalled);
    }
    if (c.is_dialled()) return;
    if (is_held_back(c) && held_back_ticks(c) == 0) return read_on(c, session);
    if (!session.is_active() && auth_ != 0 && until(slot::to_tick(c->opened_ns) + auth_, now) <= 0) {
        return end_late(c, FrameError::unauthorized, "authentication is late", CloseReason::unauthorized);
    }
    Goodbye goodbye;
    if (find_goodbye(c, word, &goodbye)) {
        if (until(goodbye.at, now) <= 0) return say_goodbye(c, session, goodbye);
    } else if (word.grace_end != 0 && word.grace_end != kNoEnd && until(word.grace_end, now) <= 0) {
        if (!word.has(slot::kLastWord) && may_end(c)) begin_end(c, {}, CloseReason::drained);
        return;
    }
    if (!session.is_active() || heartbeat_ == 0 || !is_heard(c) || is_reply_open(c)) return;
    if (until(c->input_tick + heartbeat_ * (word.pings + 1u), now) > 0) return;
    // A PING may lie behind much that it reads first.
    if (connections_.sees_output_taken(c, false)) {
        session.forget_pings();
        c->input_tick = now;
        return;
    }
    if (word.pings >= misses_) return connections_.end(c, CloseReason::heartbeat_lost, true);
    send_ping(c, session);
}

// With an error, where the framing knows them and nothing is in its way. What is dropped was answered
// already, or never is.
void Framed::end_late(Connection c, FrameError code, std::string_view reason, CloseReason why) {
    if (c.is_dialled()) return end_reply_late(c, why);
    const slot::SessionWord word = session_of(c).word();
    const bool is_silent = !is_tcpd_ || word.has(slot::kDropping) || c.has(slot::kEndOut);
    begin_end(c, is_silent ? std::string_view() : reply_.error(code, reason), why);
}

// Where no part of the reply is out, the client gets an error in its place.
void Framed::end_reply_late(Connection upstream, CloseReason why) {
    const Connection client = proxy_->sink_of(upstream);
    if (!client || is_reply_open(client)) return connections_.end(upstream, why, true);
    slot::RecordWord word = client.word();
    if (session_of(client).word().has(slot::kLastWord)) word.flags &= static_cast<uint16_t>(~slot::kEndIn);
    slot::Changes changes(connections_.memory());
    connections_.begin_closing(changes, client, why, word);
    if (is_tcpd_)
        return connections_.say(changes, client,
                                reply_.error(FrameError::failed, "the upstream's reply stalled"));
    connections_.journal().commit(changes);
    connections_.advance(client);
}

void Framed::begin_end(Connection c, std::string_view error, CloseReason why) {
    slot::Changes changes(connections_.memory());
    if (awaits_replies(c) && end_after_replies(changes, c, error, why)) {
        connections_.journal().commit(changes);
        return connections_.advance(c);
    }
    if (is_reply_open(c)) return connections_.end(c, why, true);
    connections_.begin_closing(changes, c, why);
    if (!error.empty()) return connections_.say(changes, c, error);
    connections_.journal().commit(changes);
    connections_.advance(c);
}

void Framed::say_goodbye(Connection c, Session session, const Goodbye& goodbye) {
    const int32_t ticks = std::max(until(goodbye.end, connections_.now()), 0);
    const uint32_t grace_ms =
        goodbye.end == kNoEnd
            ? kNoGraceLimit
            : static_cast<uint32_t>((uint64_t{static_cast<uint32_t>(ticks)} << 24) / 1'000'000);
    slot::Changes changes(connections_.memory());
    session.change_word(changes, [&goodbye](auto& word) { word.grace_end = goodbye.end; });
    // An ERROR that closes may wait already, and nothing follows it.
    if (c.has(slot::kEndOut) || session.word().has(slot::kLastWord))
        return connections_.journal().commit(changes);
    const std::string_view goaway = reply_.goaway(grace_ms, "this server drains: finish, then reconnect");
    if (!is_reply_open(c)) return connections_.say(changes, c, goaway);
    // Where replies follow each other without a pause, its place comes only between two of them.
    (void)put_off(changes, session, Rank::goaway, goaway);
    connections_.journal().commit(changes);
}

// What was kept comes first.
void Framed::read_on(Connection c, Session session) {
    const slot::ChunkId kept = session.is_inside_frame() ? 0 : session.chunk();
    if (kept != 0 && !connections_.have_receive_chunk()) return;  // it is due again at once
    const uint64_t tag = c.tag();
    c->input_tick = connections_.now();
    slot::Changes changes(connections_.memory());
    changes.change<slot::RecordWord>(
        &c->word, [](auto& word) { word.flags &= static_cast<uint16_t>(~slot::kThrottled); });
    if (kept == 0) {
        connections_.journal().commit(changes);
    } else {
        session.set_chunk(changes, 0);
        connections_.hand_in(changes, c, {}, kept,
                             static_cast<uint32_t>(connections_.chunks().link(kept).range));
    }
    if (c.tag() == tag && c.state() == slot::State::open) connections_.update_interest(c);
}

void Framed::send_ping(Connection c, Session session) {
    const auto pings = static_cast<uint8_t>(session.word().pings + 1);
    // Where this process stood still, the next one waits its time all the same.
    const Tick asked_for = heartbeat_ * pings;
    if (until(c->input_tick + asked_for, connections_.now()) < 0)
        c->input_tick = connections_.now() - asked_for;
    slot::Changes changes(connections_.memory());
    session.change_word(changes, [pings](auto& word) { word.pings = pings; });
    connections_.say(changes, c, reply_.ping());
}

}  // namespace tcpd::worker
