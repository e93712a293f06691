// What tcpd says itself: replies to control frames, errors, and the last word before an end.

#include <fmt/format.h>

#include <cstring>

#include "daemon/base/log.h"
#include "worker/handler/framed.h"
#include "worker/net/close_line.h"
#include "worker/protocol/guess.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::SessionState;
using What = FrameVerdict::What;

namespace {

constexpr char kTokenMethod = 1;

}  // namespace

// Part of a frame that comes from the upstream is out, the rest is not: nothing may come in between.
bool Framed::is_reply_open(Connection client) const {
    const Connection writer = proxy_ ? proxy_->source_of(client) : client;
    return writer && session_of(writer).word().has(slot::kPassingOn);
}

// In the place of a reply: behind those that the upstream still owes.
Step Framed::refuse(Input& in, Refusal refusal, Step step) {
    if (!is_tcpd_) {
        connections_.begin_closing(in.changes, in.from, CloseReason::no_route);
        return step;
    }
    if (!awaits_replies(in.from)) {
        const ErrorText text = text_of(refusal);
        return reply(in, reply_.error(text.code, text.reason), step);
    }
    OwedErrors owed = owed_of(connections_.peer_of(in.from));
    slot::ChunkId* spent = &add_to(step).spent[2];
    if (owed.add(in.changes, in.session.record().messages, refusal, spent)) return step;
    return end_with(in, FrameError::unavailable, "too many errors wait for their place", CloseReason::shed,
                    step);
}

Step Framed::reply(Input& in, std::string_view bytes, Step step) {
    if (in.from.has(slot::kEndOut)) return step;  // its upstream ended first
    if (!is_reply_open(in.from)) {
        step.to = in.from;
        add_to(step).reply = bytes;
    } else {
        // Where there are too many, those before it say as much: nobody is cut off for PINGs.
        (void)put_off(in.changes, in.session, Rank::pong, bytes);
    }
    return step;
}

// False: too many, or there is no memory.
bool Framed::put_off(slot::Changes& changes, Session session, Rank rank, std::string_view bytes) {
    slot::ChunkPool& chunks = connections_.chunks();
    slot::SessionRecord& record = session.record();
    auto chunk = static_cast<slot::ChunkId>(record.later);
    if (chunk == 0) chunk = chunks.take_small();
    if (chunk == 0) return false;
    const uint64_t end = chunks.link(chunk).range;
    const uint64_t left_free = static_cast<uint64_t>(rank) * kMostControlFrameBytes;
    if (chunks.bytes(chunk) - end < bytes.size() + left_free) return false;
    std::memcpy(chunks.data(chunk) + end, bytes.data(), bytes.size());
    changes.set(&chunks.link(chunk).range, end + bytes.size());
    changes.set(&record.later, chunk);
    return true;
}

// The rest of the input is not looked at any more. Behind replies that are still to come from an upstream,
// the last word waits for the end of those.
Step Framed::end_with(Input& in, FrameError code, std::string_view reason, CloseReason why, Step step) {
    const std::string_view error = is_tcpd_ ? reply_.error(code, reason) : std::string_view();
    step.consumed = in.bytes.count;
    if (awaits_replies(in.from) && end_after_replies(in.changes, in.from, error, why)) return step;
    connections_.begin_closing(in.changes, in.from, why);
    if (is_reply_open(in.from) || in.from.has(slot::kEndOut)) return step;
    step.to = in.from;
    add_to(step).reply = error;
    return step;
}

// False: there is no room for the last word.
bool Framed::end_after_replies(slot::Changes& changes, Connection client, std::string_view error,
                               CloseReason why) {
    const Session session = session_of(client);
    if (!error.empty() && !put_off(changes, session, Rank::error, error)) return false;
    session.change_word(changes, [](auto& word) { word.flags |= slot::kLastWord; });
    changes.change<slot::RecordWord>(&client->word, [why](auto& word) {
        word.flags |= slot::kEndIn;
        word.reason = static_cast<uint8_t>(why);
    });
    client->ended_tick = connections_.now();
    return true;
}

// The rest of a reply, replies that have not begun, or errors behind them. In another protocol than ours a
// request may have several or none: they may come until its upstream ends.
bool Framed::awaits_replies(Connection client) const {
    const Connection upstream = proxy_ ? connections_.peer_of(client) : Connection();
    if (!upstream) return false;
    if (!owed_of(upstream).is_empty()) return true;
    if (upstream.has(slot::kEndIn)) return false;
    // A request that was cut is owed none.
    const bool is_cut = client.has(slot::kEndIn) && session_of(client).word().has(slot::kPassingOn);
    return !is_tcpd_ || is_reply_open(client) ||
           session_of(client).record().messages > session_of(upstream).record().messages + is_cut;
}

// Errors whose place does not come any more, then what was put off. Inside a frame that was cut there is no
// place for them.
bool Framed::say_last_word(Connection to) {
    if (to.is_dialled()) return false;
    if (!say_all_errors(to)) return true;
    slot::SessionRecord& record = session_of(to).record();
    const bool is_last = session_of(to).word().has(slot::kLastWord);
    if (!is_last && record.later == 0) return false;
    const auto reason = is_last ? static_cast<CloseReason>(to.word().reason) : CloseReason::finished;
    slot::Changes changes(connections_.memory());
    slot::RecordWord word = to.word();
    // Its end of input was our word for it: what it sent since then is read now, and dropped.
    if (is_last) word.flags &= static_cast<uint16_t>(~slot::kEndIn);
    connections_.begin_closing(changes, to, reason, word);
    if (record.later != 0 && !is_reply_open(to)) {
        changes.set(&record.later, 0);
        connections_.say(changes, to, {}, static_cast<slot::ChunkId>(record.later));
        return true;
    }
    connections_.journal().commit(changes);
    connections_.advance(to);
    return true;
}

// An upstream that keeps its end open, or sends what nobody asked for, does not keep a client that is done.
bool Framed::close_if_answered(Connection client) {
    if (!is_tcpd_ || client.is_dialled() || is_reply_open(client) || awaits_replies(client)) return false;
    if (say_last_word(client)) return true;
    slot::Changes changes(connections_.memory());
    connections_.begin_closing(changes, client, CloseReason::finished);
    connections_.journal().commit(changes);
    connections_.advance(client);
    return true;
}

// False: the connection is gone, or closes already: what is said and goes out at once calls for the last word
// again, so that this calls itself, once for each 4 KiB of errors at most.
bool Framed::say_all_errors(Connection client) {
    const Connection upstream = proxy_ ? connections_.peer_of(client) : Connection();
    if (!upstream || is_reply_open(client)) return true;
    const uint64_t tag = client.tag();
    for (OwedErrors owed = owed_of(upstream); !owed.is_empty();) {
        slot::Changes changes(connections_.memory());
        connections_.say(changes, client, owed.take_any(changes, due_errors_));
        if (client.tag() != tag || client.state() != slot::State::open || client.has(slot::kClosing))
            return false;
    }
    return true;
}

// Its client learns why.
bool Framed::on_no_upstream(Connection client, CloseReason why) {
    if (!is_tcpd_) return false;
    slot::RecordWord word = client.word();
    word.state = slot::State::open;
    slot::Changes changes(connections_.memory());
    connections_.begin_closing(changes, client, why, word);
    connections_.say(changes, client, reply_.error(FrameError::unavailable, "no upstream is available"));
    return true;
}

std::string Framed::client_name(Connection c) const {
    const Connection client = client_of(c);
    return client ? peer_name(client.record()) : "a client that is gone";
}

Step Framed::answer(Input& in, const FrameVerdict& verdict, const FrameProgress& frame,
                    std::string_view payload, Step step) {
    if (verdict.what == What::control) {
        return on_control(in, static_cast<ControlType>(frame.type), payload, step);
    }
    if (verdict.what == What::unauthorized) return refuse_unknown(in, step);
    return refuse(in, verdict.refusal, step);
}

Step Framed::on_control(Input& in, ControlType type, std::string_view payload, Step step) {
    const bool is_active = in.session.is_active();
    if (in.from.is_dialled()) {
        // Its replies are wanted whether it reads or not, so that nothing else bounds its PONGs.
        const bool is_answered =
            type == ControlType::ping && in.from->out_bytes <= connections_.output_high(in.from);
        return is_answered ? reply(in, reply_.pong(payload), step) : step;
    }
    if (type == ControlType::auth && !is_active) return on_auth(in, payload, step);
    if (type == ControlType::close && payload.empty()) return on_goodbye(in, step);
    if (!is_active) return refuse_unknown(in, step);
    switch (type) {
        case ControlType::pong: return step;
        case ControlType::ping:
            if (payload.size() > kMostPingBytes) {
                return refuse(in, Refusal::long_ping, step);
            }
            return reply(in, reply_.pong(payload), step);
        case ControlType::auth:
            return refuse(in, authenticator_.is_required() ? Refusal::second_auth : Refusal::needless_auth,
                          step);
        case ControlType::close: return refuse(in, Refusal::close_with_payload, step);
        default: return refuse(in, Refusal::not_from_client, step);
    }
}

// Whoever is to say first who it is, and sends something else.
Step Framed::refuse_unknown(Input& in, Step step) {
    return end_with(in, FrameError::unauthorized, "authentication comes first", CloseReason::unauthorized,
                    step);
}

// One try a connection.
Step Framed::on_auth(Input& in, std::string_view payload, Step step) {
    if (payload.empty() || payload[0] != kTokenMethod) {
        return end_with(in, FrameError::unauthorized, "unknown method of authentication",
                        CloseReason::unauthorized, step);
    }
    const std::string* identity = authenticator_.identify(payload.substr(1));
    if (identity == nullptr) {
        log::limited(log::Level::warn, "unauthorized", "listener \"{}\": a wrong token from {}", name_,
                     peer_name(in.from.record()));
        return end_with(in, FrameError::unauthorized, "wrong token", CloseReason::unauthorized, step);
    }
    if (connections_.refuses_identity(in.from->owner, *identity)) {
        return end_with(in, FrameError::unavailable, "refused for a while", CloseReason::quarantined, step);
    }
    in.session.set_identity(*identity);
    if (proxy_) return begin_joining(in, step);
    in.session.change_word(in.changes, [](auto& word) { word.state = SessionState::active; });
    step.to = in.from;
    add_to(step).reply = reply_.auth_ok(in.session.id());
    return step;
}

// Its upstream is dialled for who is known, not for whoever connects. What came behind AUTH waits with its
// answer.
Step Framed::begin_joining(Input& in, Step step) {
    const std::string_view rest = in.text.substr(step.consumed);
    step.consumed = in.bytes.count;
    if (!rest.empty() && !keep_rest(in, rest)) return shed(in, step);
    in.session.change_word(in.changes, [](auto& word) { word.state = SessionState::joining; });
    in.changes.change<slot::RecordWord>(&in.from->word,
                                        [](auto& word) { word.state = slot::State::waiting; });
    in.from->ended_tick = connections_.now();
    return step;
}

void Framed::on_dialled(Connection dialled) {
    const Connection client = connections_.peer_of(dialled);
    if (client && session_of(client).word().state == SessionState::joining) return join(dialled, client);
    proxy_->on_dialled(dialled);
}

// In one commit: nothing comes from the upstream before AUTH_OK.
void Framed::join(Connection dialled, Connection client) {
    const Session session = session_of(client);
    const slot::ChunkId chunk = session.chunk();
    slot::Changes changes(connections_.memory());
    connections_.open_pair(changes, dialled, client);
    session.change_word(changes, [](auto& word) { word.state = SessionState::active; });
    const std::string_view reply = reply_.auth_ok(session.id());
    const uint64_t tag = dialled.tag();
    if (chunk == 0) {
        connections_.say(changes, client, reply);
    } else {
        session.set_chunk(changes, 0);
        const auto count = static_cast<uint32_t>(connections_.chunks().link(chunk).range);
        connections_.hand_in(changes, client, reply, chunk, count);
    }
    if (dialled.tag() == tag && dialled.state() == slot::State::open) connections_.advance(dialled);
}

// What is in flight is answered first: by us it is; an upstream gets the end of its input, and has its time.
Step Framed::on_goodbye(Input& in, Step step) {
    const Connection upstream = proxy_ ? connections_.peer_of(in.from) : Connection();
    step.consumed = in.bytes.count;
    if (upstream && (!upstream.has(slot::kEndIn) || !owed_of(upstream).is_empty())) {
        (void)end_after_replies(in.changes, in.from, {}, CloseReason::goodbye);
    } else {
        connections_.begin_closing(in.changes, in.from, CloseReason::goodbye);
    }
    return step;
}

Step Framed::on_fault(Input& in, const FrameProgress& frame, std::string_view first_bytes) {
    const bool is_long = frame.fault == FrameFault::too_long;
    const CloseReason why = is_long ? CloseReason::too_long : CloseReason::malformed;
    log::limited(log::Level::warn, "malformed",
                 "listener \"{}\": {} {} is not {}: {} at byte {} of a frame: {}", name_,
                 in.from.is_dialled() ? "what its upstream sends to" : "what comes from",
                 client_name(in.from), in.framing.config().name, worker::name_of(frame.fault),
                 frame.seen_bytes, describe_first_bytes(first_bytes.substr(0, 16)));
    const Step step{.consumed = in.bytes.count};
    if (in.from.is_dialled()) {
        return on_upstream_fault(in, FrameError::failed, "the upstream's reply is malformed",
                                 CloseReason::upstream_malformed, step);
    }
    const bool is_dropped = is_tcpd_ && is_long && frame.type < kFirstControlType && in.session.is_active() &&
                            routes_.find(frame.type).what == What::drop;
    if (is_long && !in.session.is_active()) return refuse_unknown(in, step);
    if (is_dropped) {  // never answered, not even by an error
        connections_.begin_closing(in.changes, in.from, why);
        return step;
    }
    switch (frame.fault) {
        case FrameFault::too_long:
            return end_with(in, FrameError::too_long, "the frame is too long", why, step);
        case FrameFault::version:
            return end_with(in, FrameError::malformed, "unsupported version; served: 1", why, step);
        case FrameFault::length: return end_with(in, FrameError::malformed, "bad length", why, step);
        default: return end_with(in, FrameError::malformed, "bad magic", why, step);
    }
}

// Where no part of the reply is out, the client gets an error in its place.
Step Framed::on_upstream_fault(Input& in, FrameError code, std::string_view reason, CloseReason why,
                               Step step) {
    const Connection client = proxy_->sink_of(in.from);
    if (!client) return step;
    connections_.begin_closing(in.changes, client, why);
    step.to = client;
    if (is_tcpd_ && !is_reply_open(client)) {
        add_to(step).reply = reply_.error(code, reason);
    }
    return step;
}

// No memory within the budget for what it began.
Step Framed::shed(Input& in, Step step) {
    log::limited(log::Level::warn, "shed",
                 "listener \"{}\": no memory for a message of {} that comes in parts", name_,
                 client_name(in.from));
    step.consumed = in.bytes.count;
    if (in.from.is_dialled()) {
        return on_upstream_fault(in, FrameError::unavailable, "no memory for the upstream's reply",
                                 CloseReason::shed, step);
    }
    return end_with(in, FrameError::unavailable, "no memory for a message that comes in parts",
                    CloseReason::shed, step);
}

}  // namespace tcpd::worker
