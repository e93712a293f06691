// Frames as they come. Each function returns one step: what becomes of the first bytes of the input.

#include "worker/handler/framed.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <cstring>

#include "daemon/base/clock.h"
#include "worker/net/rules.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::SessionState;
using What = FrameVerdict::What;

Framed::Framed(Connections& connections, const conf::Listener& listener, std::unique_ptr<Proxy> proxy,
               const conf::Framing& replies)
    : connections_(connections),
      framing_(listener.framing),
      reply_framing_(replies),
      authenticator_(listener.auth),
      routes_(listener.handler),
      rate_(listener.limits.message_rate.count, to_ns(listener.limits.message_rate.per)),
      proxy_(std::move(proxy)),
      name_(listener.name),
      is_tcpd_(listener.framing.kind == conf::FramingKind::tcpd),
      judges_all_alike_(!rate_.is_limited() && listener.handler.kind != conf::HandlerKind::routes),
      auth_(ticks_of(to_ns(listener.timeouts.auth))),
      frame_(ticks_of(to_ns(listener.timeouts.frame))),
      heartbeat_(is_tcpd_ ? ticks_of(to_ns(listener.heartbeat.interval)) : 0),
      misses_(listener.heartbeat.misses) {}

// INIT. What a former connection left at this descriptor is gone before this one is published.
void Framed::prepare(Connection c) {
    slot::SessionRecord& record = session_of(c).record();
    record = {};
    slot::SessionWord word;
    if (authenticator_.is_required() && !c.is_dialled()) word.state = SessionState::authenticating;
    record.word = word.pack();
    // So few bytes come whole, or a kernel has no such call.
    if (is_tcpd_ && getrandom(record.id, sizeof record.id, 0) != sizeof record.id) abort();
}

void Framed::on_accepted(Connection client) {
    if (needs_peer(client)) proxy_->on_accepted(client);
}

void Framed::on_end(Connection c) {
    slot::SessionRecord& record = session_of(c).record();
    for (uint64_t* chunk : {&record.in, &record.later}) {
        if (*chunk != 0) connections_.chunks().release(static_cast<slot::ChunkId>(*chunk));
        *chunk = 0;
    }
    if (!c.is_dialled()) return;
    if (record.owed != 0) connections_.chunks().release(static_cast<slot::ChunkId>(record.owed));
    record.owed = 0;
}

void Framed::forget(Connection c) {
    slot::SessionRecord& record = session_of(c).record();
    record.in = record.later = 0;
    if (c.is_dialled()) record.owed = 0;
}

bool Framed::is_sound(Connection c) {
    const Session session = session_of(c);
    const slot::SessionRecord& record = session.record();
    const slot::SessionWord word = session.word();
    const FrameProgress frame = session.progress();
    if (word.state > SessionState::joining || record.identity_bytes > sizeof record.identity) return false;
    const uint16_t streamed = slot::kPassingOn | slot::kDropping;
    if (word.has(streamed) && (record.in != 0 || frame.seen_bytes == 0)) return false;
    if (frame.total_bytes != 0 && frame.seen_bytes >= frame.total_bytes) return false;
    if (c.is_dialled() && !owed_of(c).is_sound()) return false;
    // By the rate that its listener has now.
    if (!c.is_dialled()) session.record().rate_ns = rate_.cut(record.rate_ns, connections_.now_ns());
    slot::ChunkPool& chunks = connections_.chunks();
    if (record.later != 0) {
        const auto later = static_cast<slot::ChunkId>(record.later);
        if (!chunks.is_valid(record.later) || !chunks.mark_used(later)) return false;
        if (chunks.link(later).range == 0 || chunks.link(later).range > chunks.bytes(later)) return false;
    }
    if (record.in == 0) return frame.seen_bytes == 0 || word.has(streamed);
    if (!chunks.is_valid(record.in) || !chunks.mark_used(session.chunk())) return false;
    const bool is_joining = word.state == SessionState::joining;
    if (frame.seen_bytes == 0) {
        const uint64_t kept = chunks.link(session.chunk()).range;
        return (is_joining || c.has(slot::kThrottled)) && kept != 0 && kept <= chunks.bytes(session.chunk());
    }
    return !is_joining && frame.seen_bytes - left_out_bytes(session, frame) <= chunks.bytes(session.chunk());
}

char* Framed::describe(Connection c, char* text) const {
    if (!is_tcpd_) return text;
    const Session session = session_of(c);
    const slot::SessionRecord& record = session.record();
    text = fmt::format_to(text, " session={:02x} messages={}", fmt::join(record.id, ""), record.messages);
    return session.identity().empty() ? text : fmt::format_to(text, " identity={}", session.identity());
}

// -- frames

Step Framed::on_bytes(Connection from, Bytes received, slot::Changes& changes) {
    Input in{from,
             session_of(from),
             from.is_dialled() ? reply_framing_ : framing_,
             received,
             {connections_.memory().base() + received.at, received.count},
             changes};
    in.session.forget_pings();
    if (is_tcpd_ && !in.session.is_inside_frame()) {
        if (const Connection to = sink_of(from); to && has_put_off(to)) [[unlikely]]
            return say_what_was_put_off(in, to);
    }
    if (from.is_dialled() && !owed_of(from).is_empty()) [[unlikely]]
        return take_with_errors(in);
    if (received.count == 0) [[unlikely]]
        return {};
    if (from.has(slot::kThrottled) && !in.session.is_inside_frame() && keep_rest(in, in.text)) [[unlikely]]
        return {.consumed = received.count};
    return in.session.is_inside_frame() ? go_on(in) : take_frames(in);
}

// What comes from an upstream while errors wait for their place between its replies. Each step that brings a
// reply is followed by another look.
Step Framed::take_with_errors(Input& in) {
    OwedErrors owed = owed_of(in.from);
    const uint64_t replies = in.session.record().messages;
    Step step;
    if (owed.is_due(replies) && !in.session.word().has(slot::kPassingOn)) {
        step.to = proxy_->sink_of(in.from);
        Addition& addition = add_to(step);
        addition.reply = owed.take_due(in.changes, replies, due_errors_, &addition.spent[2]);
    } else if (in.bytes.count == 0) {
        return step;
    } else {
        in.most_frames = owed.replies_before_next(replies);
        step = in.session.is_inside_frame() ? go_on(in) : take_frames(in);
    }
    step.asks_again = true;
    return step;
}

// A heartbeat is between two neighbours. An ERROR is a reply, what else comes stands outside of their order.
What Framed::what_of_upstream(ControlType type) {
    if (type == ControlType::ping || type == ControlType::pong) return What::control;
    return type == ControlType::error ? What::pass : What::relay;
}

// Bytes that are not cut are no frames, and count for none.
What Framed::what_of_reply(const Input& in, uint32_t type) const {
    if (is_tcpd_ && type >= kFirstControlType) return what_of_upstream(static_cast<ControlType>(type));
    return in.framing.config().kind == conf::FramingKind::raw ? What::relay : What::pass;
}

// What the frames in one run have in common; `rate_ns` is the record's as it will be.
FrameVerdict Framed::judge(const Input& in, uint32_t type, uint64_t* rate_ns) const {
    if (in.from.is_dialled()) return {what_of_reply(in, type)};
    const bool is_first =
        type == static_cast<uint32_t>(ControlType::auth) || type == static_cast<uint32_t>(ControlType::close);
    if (is_tcpd_ && type >= kFirstControlType && (is_first || in.session.is_active())) return {What::control};
    if (!in.session.is_active()) return {What::unauthorized};
    const FrameVerdict verdict = routes_.find(type);
    if (!rate_.is_limited()) [[likely]]
        return verdict;
    if (!is_tcpd_) {
        rate_.charge(*rate_ns, connections_.now_ns());
    } else if (!rate_.admit(*rate_ns, connections_.now_ns()) && verdict.what != What::drop) {
        return {What::refuse, Refusal::too_many};
    }
    return verdict;
}

// As `judge` left it.
void Framed::charge(Input& in, uint64_t rate_ns) {
    if (rate_.is_limited() && !in.from.is_dialled()) in.changes.set(&in.session.record().rate_ns, rate_ns);
}

void Framed::count(Input& in, uint32_t frames, uint64_t rate_ns) {
    slot::SessionRecord& record = in.session.record();
    in.changes.set(&record.messages, record.messages + frames);
    charge(in, rate_ns);
}

bool Framed::is_used_up(const Input& in, uint64_t rate_ns) const {
    return !is_tcpd_ && !in.from.is_dialled() && rate_.wait_ns(rate_ns, connections_.now_ns()) != 0;
}

// A framing without error frames does not read its client for a while instead. Behind a whole frame: what was
// begun is read to its end.
bool Framed::keep_rate(Input& in, uint64_t rate_ns) {
    if (!is_used_up(in, rate_ns)) return false;
    hold_back(in);
    return true;
}

// It is not read until `held_back_ticks` says so.
void Framed::hold_back(Input& in) {
    in.changes.change<slot::RecordWord>(&in.from->word, [](auto& word) { word.flags |= slot::kThrottled; });
}

// As many whole frames at the front as have the same verdict, in one run.
Step Framed::take_frames(Input& in) {
    FrameVerdict verdict;
    uint32_t end = 0, frames = 0;
    uint64_t rate_ns = in.session.record().rate_ns, next_rate_ns = rate_ns;
    if (judges_all_alike_ && in.session.is_active() && in.most_frames == ~uint32_t{0}) {
        end = in.framing.run_of_frames(in.text, &frames);
        verdict = routes_.find(0);
    }
    while (end < in.bytes.count && frames < in.most_frames) {
        FrameProgress frame;
        const std::string_view rest = in.text.substr(end);
        const FrameStep step = in.framing.feed(frame, {}, rest);
        if (step != FrameStep::whole) {
            if (frames > 0) break;
            return step == FrameStep::bad ? on_fault(in, frame, in.text) : keep_on(in, frame, in.bytes.count);
        }
        const FrameVerdict next = judge(in, frame.type, &next_rate_ns);
        if (frames > 0 && next != verdict) break;
        verdict = next;
        const auto total = static_cast<uint32_t>(frame.total_bytes);
        if (verdict.what == What::control || verdict.what == What::refuse ||
            verdict.what == What::unauthorized) {
            if (verdict.what == What::refuse) charge(in, next_rate_ns);
            const std::string_view payload = rest.substr(frame.header_bytes, frame.payload_bytes());
            return answer(in, verdict, frame, payload, {.consumed = total});
        }
        rate_ns = next_rate_ns;
        end += total;
        ++frames;
        if (is_used_up(in, rate_ns)) break;
    }
    if (verdict.what != What::relay) count(in, frames, rate_ns);
    const bool waits = keep_rate(in, rate_ns);
    if (verdict.what == What::drop) return {.consumed = end, .is_timed = waits};
    return {.consumed = end, .to = sink_of(in.from), .run = {in.bytes.at, end}, .is_timed = waits};
}

// Further bytes of the frame in hand.
Step Framed::go_on(Input& in) {
    FrameProgress frame = in.session.progress();
    const uint64_t before = frame.seen_bytes;
    const slot::SessionWord word = in.session.word();
    const slot::ChunkId chunk = in.session.chunk();
    std::string_view head;
    if (chunk != 0) head = {connections_.chunks().data(chunk), before - left_out_bytes(in.session, frame)};
    const FrameStep next = in.framing.feed(frame, head, in.text);
    if (next == FrameStep::bad) {
        std::string first(head.substr(0, 16));
        first += in.text.substr(0, 16 - first.size());
        return on_fault(in, frame, first);
    }
    const auto taken = static_cast<uint32_t>(frame.seen_bytes - before);
    if (!word.has(slot::kPassingOn | slot::kDropping)) {
        if (next == FrameStep::more) return keep_on(in, frame, taken);
        Step step{.consumed = taken};
        if (frame.seen_bytes > kMostGathered) return end_gathered(in, frame, chunk, taken, step);
        const slot::ChunkId whole = hold(in, frame, taken, &step);
        return whole == 0 ? shed(in, step) : end_gathered(in, frame, whole, 0, step);
    }
    Step step{.consumed = taken};
    if (next == FrameStep::more) {
        in.session.set_progress(in.changes, frame);
    } else {
        step.is_timed = end_streamed(in);
    }
    if (word.has(slot::kDropping)) return step;
    step.to = sink_of(in.from);
    step.run = {in.bytes.at, taken};
    step.asks_again = next == FrameStep::whole && step.to && has_put_off(step.to);
    return step;
}

// All that is left of the input waits for its time, without a frame in hand. False: there is no memory for it
// within the budget.
bool Framed::keep_rest(Input& in, std::string_view rest) {
    slot::ChunkPool& chunks = connections_.chunks();
    if (chunks.is_over_budget()) return false;
    const slot::ChunkId chunk =
        rest.size() <= slot::kSmallChunkBytes ? chunks.take_small() : chunks.take_large();
    if (chunk == 0) return false;
    std::memcpy(chunks.data(chunk), rest.data(), rest.size());
    chunks.link(chunk).range = rest.size();
    in.session.set_chunk(in.changes, chunk);
    return true;
}

bool Framed::end_streamed(Input& in) {
    in.session.set_progress(in.changes, {});
    in.session.change_word(in.changes, [](auto& word) {
        word.flags &= static_cast<uint16_t>(~(slot::kPassingOn | slot::kDropping));
    });
    return keep_rate(in, in.session.record().rate_ns);
}

// The first `count` bytes of the input belong to a frame that is not whole yet. Who is not to have it anyway
// is told as soon as its type is known, before it is kept.
Step Framed::keep_on(Input& in, const FrameProgress& frame, uint32_t count) {
    if (!frame.is_header_known) return gather(in, frame, count);
    // An upstream's reply is nothing new: over a budget it is passed on as it comes.
    const bool is_long = frame.total_bytes > kMostGathered || frame.seen_bytes > kMostGathered ||
                         (in.from.is_dialled() && connections_.chunks().is_over_budget());
    uint64_t rate_ns = in.session.record().rate_ns;
    const FrameVerdict verdict = judge(in, frame.type, &rate_ns);
    const bool goes_on = verdict.what == What::pass || verdict.what == What::relay;
    if (verdict.what == What::control || (goes_on && !is_long)) return gather(in, frame, count);
    if (verdict.what == What::unauthorized) return answer(in, verdict, frame, {}, {.consumed = count});
    if (verdict.what == What::pass || verdict.what == What::drop) this->count(in, 1, rate_ns);
    if (goes_on) return begin_passing(in, frame, count);
    Step step{.consumed = count};
    if (verdict.what == What::refuse) {
        charge(in, rate_ns);
        step = answer(in, verdict, frame, {}, step);
    }
    return begin_dropping(in, frame, step);
}

// Behind the frame that was passed on, before anything else: the next one, or the end, may come at once.
Step Framed::say_what_was_put_off(Input& in, Connection to) {
    slot::SessionRecord& reader = session_of(to).record();
    Step step{.to = to, .asks_again = true};
    add_to(step).chunk = static_cast<slot::ChunkId>(reader.later);
    in.changes.set(&reader.later, 0);
    return step;
}

Step Framed::begin_passing(Input& in, const FrameProgress& frame, uint32_t count) {
    Step step{.consumed = count, .to = sink_of(in.from), .run = {in.bytes.at, count}, .is_timed = true};
    if (const slot::ChunkId chunk = in.session.chunk(); chunk != 0) {
        connections_.chunks().link(chunk) = {0, frame.seen_bytes - count};
        add_to(step).chunk = chunk;
        in.session.set_chunk(in.changes, 0);
    }
    in.session.change_word(in.changes, [](auto& word) { word.flags |= slot::kPassingOn; });
    in.session.set_progress(in.changes, frame);
    return step;
}

Step Framed::begin_dropping(Input& in, const FrameProgress& frame, Step step) {
    if (in.changes.has(&in.session.record().word)) return step;  // its end was decided
    if (in.session.chunk() != 0) {
        add_to(step).spent[0] = in.session.chunk();
        in.session.set_chunk(in.changes, 0);
    }
    in.session.change_word(in.changes, [](auto& word) { word.flags |= slot::kDropping; });
    in.session.set_progress(in.changes, frame);
    step.is_timed = true;
    return step;
}

// Over a budget nothing new is begun: where the framing has errors, that is said as soon as the frame is known;
// else who began it is not read until there is memory again. A header is waited for either way.
Step Framed::gather(Input& in, const FrameProgress& frame, uint32_t count) {
    slot::ChunkPool& chunks = connections_.chunks();
    Step step{.consumed = count};
    const bool is_over = chunks.is_over_budget();
    const bool is_begun =
        in.session.progress().is_header_known &&
        frame.seen_bytes - left_out_bytes(in.session, frame) <= chunks.bytes(in.session.chunk());
    const bool has_errors = is_tcpd_ && !in.from.is_dialled();
    if (is_over && !is_begun && has_errors && !in.session.is_active()) return shed(in, step);
    const bool is_refused = is_over && !is_begun && has_errors && frame.is_header_known;
    if (is_refused || hold(in, frame, count, &step) == 0) {
        if (!has_errors || !frame.is_header_known || !in.session.is_active()) return shed(in, step);
        if (frame.type != static_cast<uint32_t>(ControlType::pong)) {
            step = refuse(in, Refusal::no_memory, step);
        }
        return begin_dropping(in, frame, step);
    }
    in.session.set_progress(in.changes, frame);
    step.is_timed = true;
    if (is_over && !is_tcpd_ && !in.from.is_dialled()) hold_back(in);
    return step;
}

// Goes on where the chunk is that it has, so that it needs no larger one.
uint32_t Framed::most_received(Connection c) const {
    const slot::ChunkId chunk = session_of(c).chunk();
    if (chunk == 0 || connections_.chunks().bytes(chunk) > slot::kSmallChunkBytes)
        return slot::kSmallChunkBytes;
    const Session session = session_of(c);
    const FrameProgress frame = session.progress();
    const uint64_t held =
        std::min<uint64_t>(frame.seen_bytes - left_out_bytes(session, frame), slot::kSmallChunkBytes - 1);
    return static_cast<uint32_t>(slot::kSmallChunkBytes - held);
}

// Of a frame in hand, what its chunk does not have: the header of an AUTH that fits no small chunk with it. How
// much came says so, in the same commit as the chunk.
uint64_t Framed::left_out_bytes(Session session, const FrameProgress& frame) const {
    if (session.word().state != SessionState::authenticating) return 0;
    const slot::ChunkId chunk = session.chunk();
    const uint64_t room = chunk == 0 ? slot::kSmallChunkBytes : connections_.chunks().bytes(chunk);
    return frame.seen_bytes > room ? frame.header_bytes : 0;
}

// Behind what is gathered already. A small chunk at first, whatever a length claims: who sends little costs
// little, and who has not said who he is never gets a larger one. The chunk that it is in now; 0: there is no
// memory.
slot::ChunkId Framed::hold(Input& in, const FrameProgress& frame, uint32_t count, Step* step) {
    slot::ChunkPool& chunks = connections_.chunks();
    const uint64_t before = frame.seen_bytes - count;
    const uint64_t left_out = left_out_bytes(in.session, frame);
    const uint64_t kept = frame.seen_bytes - left_out;
    const slot::ChunkId former = in.session.chunk();
    slot::ChunkId chunk = former;
    if (former == 0 || kept > chunks.bytes(former) || (left_out != 0 && before <= chunks.bytes(former))) {
        if (kept > slot::kLargeChunkBytes) return 0;
        chunk = kept <= slot::kSmallChunkBytes ? chunks.take_small() : chunks.take_large();
        if (chunk == 0) return 0;
        if (former != 0 && before > left_out)
            std::memcpy(chunks.data(chunk), chunks.data(former) + left_out, before - left_out);
        add_to(*step).spent[1] = former;
        in.session.set_chunk(in.changes, chunk);
    }
    const uint64_t begin = std::max(before, left_out);
    std::memcpy(chunks.data(chunk) + begin - left_out, in.text.data() + begin - before,
                frame.seen_bytes - begin);
    return chunk;
}

// It lies whole in `chunk`, but for its last `beyond` bytes, which just came: no chunk would hold it with them.
Step Framed::end_gathered(Input& in, const FrameProgress& frame, slot::ChunkId chunk, uint32_t beyond,
                          Step step) {
    uint64_t rate_ns = in.session.record().rate_ns;
    const FrameVerdict verdict = judge(in, frame.type, &rate_ns);
    const uint64_t left_out = left_out_bytes(in.session, frame);
    in.session.set_progress(in.changes, {});
    in.session.set_chunk(in.changes, 0);
    if (verdict.what == What::pass || verdict.what == What::relay) {
        if (verdict.what == What::pass) count(in, 1, rate_ns);
        step.is_timed = keep_rate(in, rate_ns);
        connections_.chunks().link(chunk) = {0, frame.total_bytes - beyond};
        step.to = sink_of(in.from);
        step.run = {in.bytes.at, beyond};
        add_to(step).chunk = chunk;
        return step;
    }
    add_to(step).spent[0] = chunk;
    if (verdict.what == What::drop) {
        count(in, 1, rate_ns);
        step.is_timed = keep_rate(in, rate_ns);
        return step;
    }
    if (verdict.what == What::refuse) charge(in, rate_ns);
    // What is that long is no control frame, and refused without a look at it.
    std::string_view payload;
    if (beyond == 0) {
        const char* begin = connections_.chunks().data(chunk) + frame.header_bytes - left_out;
        payload = {begin, static_cast<size_t>(frame.payload_bytes())};
    }
    return answer(in, verdict, frame, payload, step);
}

}  // namespace tcpd::worker
