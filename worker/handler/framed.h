#pragma once

// Decides about the connections of a listener whose streams are cut into frames: whole ones go back (echo),
// on (proxy), nowhere (discard), or where a route says; control frames of the tcpd protocol it answers
// itself. A frame that lies whole in what was received is handled there, without a copy; of others up to
// kMostGathered is gathered in a chunk, and longer ones are passed on as they come. One object per listener;
// what is per connection lies in the records (slot/record.h, slot/session_record.h), so a successor goes on
// in the middle of a frame. Worker only. Source: docs/protocols.md. In reading order: framed.cc (frames),
// framed_control.cc (control frames, faults), framed_time.cc (what is due when).

#include <array>
#include <memory>
#include <string_view>

#include "conf/config.h"
#include "daemon/base/rate.h"
#include "worker/handler/proxy.h"
#include "worker/net/connections.h"
#include "worker/protocol/control_frame.h"
#include "worker/protocol/framing.h"
#include "worker/session/authenticator.h"
#include "worker/session/owed_errors.h"
#include "worker/session/routes.h"
#include "worker/session/session.h"

namespace tcpd::worker {

inline constexpr uint32_t kMostGathered = slot::kLargeChunkBytes;

class Framed : public Handler {
public:
    // `proxy`: for frames that go on to an upstream, whose own are cut by `replies`, or pass as bytes where
    // that is raw; nullptr: they don't.
    Framed(Connections& connections, const conf::Listener& listener, std::unique_ptr<Proxy> proxy,
           const conf::Framing& replies);

    Step on_bytes(Connection from, Bytes received, slot::Changes& changes) override;
    uint32_t most_received(Connection c) const override;
    Connection sink_of(Connection from) override { return proxy_ ? proxy_->sink_of(from) : from; }
    Connection source_of(Connection to) override { return proxy_ ? proxy_->source_of(to) : to; }
    bool needs_peer(Connection c) const override {
        return proxy_ && session_of(c).word().state != slot::SessionState::authenticating;
    }
    void prepare(Connection c) override;
    void on_accepted(Connection client) override;
    void on_resumed(Connection dialled) override { proxy_->on_resumed(dialled); }
    void on_dialled(Connection dialled) override;
    void on_dial_failed(Connection dialled, int sys_errno) override {
        proxy_->on_dial_failed(dialled, sys_errno);
    }
    void on_end(Connection c) override;
    int32_t ticks_left(Connection c) const override;
    void on_due(Connection c) override;
    bool says_goodbye() const override { return is_tcpd_; }
    bool say_last_word(Connection to) override;
    bool close_if_answered(Connection client) override;
    bool has_last_word(Connection c) const override { return session_of(c).word().has(slot::kLastWord); }
    bool on_no_upstream(Connection client, slot::CloseReason why) override;
    uint64_t own_backlog(Connection c) const override { return proxy_ && !c.is_dialled() ? c->out_bytes : 0; }
    bool keeps_input(Connection c) const override {
        return session_of(c).chunk() != 0 && !session_of(c).is_inside_frame();
    }
    bool is_sound(Connection c) override;
    void forget(Connection c) override;
    std::string_view identity_of(Connection c) const override { return session_of(c).identity(); }
    char* describe(Connection c, char* text) const override;

private:
    // What is in hand: bytes that came from a connection.
    struct Input {
        Connection from;
        Session session;
        const Framing& framing;
        Bytes bytes;
        std::string_view text;  // the same
        slot::Changes& changes;
        uint32_t most_frames = ~uint32_t{0};  // before it is an error's turn
    };
    Session session_of(Connection c) const { return Session(connections_.memory().sessions()[c.fd()]); }

    // The first one for a step makes it empty.
    Addition& add_to(Step& step) {
        if (step.addition == nullptr) addition_ = {};
        step.addition = &addition_;
        return addition_;
    }

    // framed.cc
    Step take_with_errors(Input& in);
    Step take_frames(Input& in);
    Step go_on(Input& in);
    Step keep_on(Input& in, const FrameProgress& frame, uint32_t count);
    Step gather(Input& in, const FrameProgress& frame, uint32_t count);
    Step say_what_was_put_off(Input& in, Connection to);
    Step begin_passing(Input& in, const FrameProgress& frame, uint32_t count);
    Step begin_dropping(Input& in, const FrameProgress& frame, Step step);
    Step end_gathered(Input& in, const FrameProgress& frame, slot::ChunkId chunk, uint32_t beyond, Step step);
    uint64_t left_out_bytes(Session session, const FrameProgress& frame) const;
    slot::ChunkId hold(Input& in, const FrameProgress& frame, uint32_t count, Step* step);
    bool end_streamed(Input& in);
    FrameVerdict judge(const Input& in, uint32_t type, uint64_t* rate_ns) const;
    static FrameVerdict::What what_of_upstream(ControlType type);
    FrameVerdict::What what_of_reply(const Input& in, uint32_t type) const;
    void charge(Input& in, uint64_t rate_ns);
    void count(Input& in, uint32_t frames, uint64_t rate_ns);
    bool is_used_up(const Input& in, uint64_t rate_ns) const;
    bool keep_rate(Input& in, uint64_t rate_ns);
    void hold_back(Input& in);
    bool keep_rest(Input& in, std::string_view rest);

    // framed_control.cc
    Step answer(Input& in, const FrameVerdict& verdict, const FrameProgress& frame, std::string_view payload,
                Step step);
    Step on_control(Input& in, ControlType type, std::string_view payload, Step step);
    Step refuse_unknown(Input& in, Step step);
    Step on_auth(Input& in, std::string_view payload, Step step);
    Step begin_joining(Input& in, Step step);
    void join(Connection dialled, Connection client);
    Step on_goodbye(Input& in, Step step);
    Step refuse(Input& in, Refusal refusal, Step step);
    OwedErrors owed_of(Connection upstream) const {
        return OwedErrors(connections_.chunks(), session_of(upstream).record());
    }
    Step end_with(Input& in, FrameError code, std::string_view reason, slot::CloseReason why, Step step);
    Step on_fault(Input& in, const FrameProgress& frame, std::string_view first_bytes);
    Step on_upstream_fault(Input& in, FrameError code, std::string_view reason, slot::CloseReason why,
                           Step step);
    Step shed(Input& in, Step step);
    bool is_reply_open(Connection client) const;
    Step reply(Input& in, std::string_view bytes, Step step);
    // The rarer one has the more room: PONGs, however many, leave enough for what comes once.
    enum class Rank : uint8_t { error, goaway, pong };
    bool put_off(slot::Changes& changes, Session session, Rank rank, std::string_view bytes);
    // Something waits for the end of the frame that is passed on to it, and for nothing else.
    bool has_put_off(Connection to) const {
        return session_of(to).record().later != 0 && !session_of(to).word().has(slot::kLastWord) &&
               !to.has(slot::kEndOut);
    }
    bool end_after_replies(slot::Changes& changes, Connection client, std::string_view error,
                           slot::CloseReason why);
    bool say_all_errors(Connection client);
    bool awaits_replies(Connection client) const;
    // Without a frame being cut: between two, or once the upstream's replies are out.
    bool may_end(Connection client) const { return !is_reply_open(client) || awaits_replies(client); }
    Connection client_of(Connection c) const { return c.is_dialled() ? connections_.peer_of(c) : c; }
    std::string client_name(Connection c) const;

    // framed_time.cc
    struct Goodbye {
        slot::Tick at = 0, end = 0;  // GOAWAY is due at the first; the grace ends with the second
    };
    static constexpr slot::Tick kNoEnd = ~slot::Tick{0};
    bool find_goodbye(Connection c, slot::SessionWord word, Goodbye* found) const;
    bool stalls(Connection c, Session session) const;
    slot::Tick held_back_ticks(Connection c) const;
    void begin_end(Connection c, std::string_view error, slot::CloseReason why);
    void end_late(Connection c, FrameError code, std::string_view reason, slot::CloseReason why);
    void end_reply_late(Connection upstream, slot::CloseReason why);
    void say_goodbye(Connection c, Session session, const Goodbye& goodbye);
    void send_ping(Connection c, Session session);
    // It is read again when its time comes, and waits for nothing else.
    static bool is_held_back(Connection c) { return c.has(slot::kThrottled) && !c.has(slot::kPaused); }
    void read_on(Connection c, Session session);

    Connections& connections_;
    Framing framing_, reply_framing_;
    Authenticator authenticator_;
    Routes routes_;
    RateLimit rate_;
    std::unique_ptr<Proxy> proxy_;
    ControlFrame reply_;
    std::array<char, slot::kSmallChunkBytes> due_errors_;  // of the step in hand
    Addition addition_;                                    // of the step in hand
    std::string name_;
    bool is_tcpd_;           // in both directions
    bool judges_all_alike_;  // frames of the application, whatever their type
    slot::Tick auth_, frame_, heartbeat_;
    uint32_t misses_;
};

}  // namespace tcpd::worker
