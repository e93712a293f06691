#pragma once

// All connections of a worker: the data path from an event to the bytes that are out, and the end of each.
// The records, their chains of output and the journal lie in slot memory; what is private here is rebuilt at
// adoption. Descriptors of connections belong to the records: opened by listener and dial, closed here and
// nowhere else. If the process dies in here, the journal says where; worker/recovery.h goes on from there
// through `resume_...`. In reading order: connection.cc (an event, reading), output.cc (writing), ending.cc
// (ends), watch.cc (interest, time). Worker only.

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <vector>

#include "daemon/slot/address_counts.h"
#include "daemon/slot/chunk_pool.h"
#include "daemon/slot/journal.h"
#include "daemon/slot/shared_counts.h"
#include "worker/net/connection.h"
#include "worker/net/deadlines.h"
#include "worker/net/numbers.h"
#include "worker/net/poller.h"
#include "worker/net/rules.h"
#include "worker/net/silence.h"

namespace tcpd::worker {

class Connections {
public:
    Connections(slot::SlotMemory& memory, slot::SharedCounts& counts, slot::AddressCounts& addresses,
                int buffers_fd, int poller_fd);

    void set_rules(const Rules* rules) { rules_[rules->id] = rules; }
    const Rules* rules_of(Connection c) const { return rules_[c->owner]; }
    const Rules* rules_of(uint32_t listener) const {
        return listener < slot::kMaxListeners ? rules_[listener] : nullptr;
    }
    // At the begin of each round of events, and wherever else time may have passed.
    void set_now(uint64_t monotonic_nanoseconds) {
        ended_in_round_ = false;
        now_ns_ = monotonic_nanoseconds;
        now_ = slot::to_tick(monotonic_nanoseconds);
        chunks_.look_at_others();
    }
    slot::Tick now() const { return now_; }
    uint64_t now_ns() const { return now_ns_; }

    Numbers& numbers() { return numbers_; }
    // The connection at a descriptor; none if there is none.
    Connection at(int fd) const;
    // The one with this Connection::tag; none, if that is no more.
    Connection with_tag(uint64_t tag) const;
    // What an event that was not looked at for a while tells of is still what it was.
    bool is_current(const epoll_event& event) const;
    // The other one of its pair, if that is still the one that was meant.
    Connection peer_of(Connection c) const;
    slot::Record& record(int fd) { return memory_.records()[fd]; }
    uint32_t record_count() const { return memory_.record_count(); }
    uint32_t open_count() const { return open_; }

    // connection.cc
    void on_event(const epoll_event& event);
    void take_in_hand(Connection c);
    // The source has bytes in the buffer that the journal names, which are not handled.
    void resume_received(Connection source) {
        if (!have_receive_chunk()) return end(source, slot::CloseReason::local_fault, true);
        hand_on(source);
    }

    // output.cc
    // `sent` of the bytes that the journal says were being sent are out.
    // The redo log has `begun` entries; what it leaves over of what was received is handled.
    void resume_sent(Connection source, uint32_t begun, Connection target, uint32_t sent);
    void resume_flushed(Connection target, uint32_t sent);
    // A predecessor was told that it was reset, or this process is about to be.
    void resume_reset(Connection c);
    // Its end and its peer's, by one store for each: before the journal says that nothing is in hand.
    void doom_at_once(Connection c, slot::CloseReason reason);
    // Output that nobody's input made, text or a chunk that becomes it: sent, or kept. What changes with it
    // is in `changes`.
    void say(slot::Changes& changes, Connection c, std::string_view reply, slot::ChunkId chunk = 0);
    // What came from `c` before, `count` bytes in a chunk of the handler's, is handled as if it were received
    // now, behind `reply`.
    void hand_in(slot::Changes& changes, Connection c, std::string_view reply, slot::ChunkId chunk,
                 uint32_t count);
    // Reading stops or goes on as the water marks of what takes the bytes say.
    void press_back(Connection source, Connection sink);
    // More output than this is for a connection that does not take it.
    uint64_t output_high(Connection sink) const {
        return chunks_.is_over_budget() ? 0 : rules_of(sink)->output_high_bytes;
    }

    void press_back_around(Connection c);

    // ending.cc
    // Ends it and its peer; `reset`: by RST, as where output is lost with them: a stream that was cut does
    // not look whole. Both are gone when this returns.
    void end(Connection c, slot::CloseReason reason, bool reset = false);
    // What is left of a connection that is doomed.
    void finish(Connection c);
    // Nothing more is handled; see slot::kClosing. Part of `changes`, then `advance` is to be called.
    // `word`: its record's, where more of that changes with it.
    void begin_closing(slot::Changes& changes, Connection c, slot::CloseReason reason, slot::RecordWord word);
    void begin_closing(slot::Changes& changes, Connection c, slot::CloseReason reason) {
        begin_closing(changes, c, reason, c.word());
    }
    // Ends a dialled connection alone: its client lives on and dials another server.
    void end_dial(Connection dialled);
    // A record whose listener nobody knows: its descriptor is closed, that is all.
    void forget(Connection c);
    void shut(Connection c);
    // Passes ends of input on, ends what is complete, sets interest: all that follows from the records of a
    // pair.
    void advance(Connection c);

    // watch.cc
    // Makes `fields` the record of an accepted descriptor, counts it, and leaves `after` in the journal.
    Connection publish_accepted(int fd, const slot::Record& fields, slot::JournalWord after);
    // Makes `fields` the record of a dialled one, the peer of `client`.
    Connection publish_dialled(int fd, const slot::Record& fields, Connection client);
    // It is connected: both are read from now on.
    void publish_dial_done(Connection dialled, Connection client);
    // The same as part of `changes`; then `advance(dialled)` is to be called.
    void open_pair(slot::Changes& changes, Connection dialled, Connection client);
    void watch(Connection c);
    void update_interest(Connection c);
    // The epoll set tells of a file that is no longer ours and can't be taken out of it: it would do so for
    // ever.
    bool needs_new_poller() const { return needs_new_poller_; }
    // The set was replaced by an empty one at the same descriptor.
    void watch_all_anew();
    bool is_watched_right(Connection c) const { return wanted(c) == c->interest; }
    void rewatch(Connection c);  // for a successor: whatever was registered, it is right afterwards
    void arm(Connection c);
    // True: what is due was looked at; else the rest comes first in the next call.
    bool look_at_deadlines(uint64_t until_ns = ~uint64_t{0});
    // Before anything is sent to it: until it has all of it, the kernel is asked now and then whether it is there.
    void await_answer(Connection c) {
        if (c->awaited == 0) [[unlikely]]
            begin_to_await(c);
    }
    // Whether the peer took some of the output that lay in the kernel when it was last asked. Nothing did:
    // `at_first`, if some does now.
    bool sees_output_taken(Connection c, bool at_first);
    void retry_starved();
    bool has_deadlines() const { return !deadlines_.is_empty() || !starved_.empty(); }
    // Every accepted connection ends by itself or at `until_ns` (0: no limit), with `spread` at a point of
    // its own in the second half of the time. `arm_some` is to be called until it says that all are armed.
    void begin_drain(uint64_t begin_ns, uint64_t until_ns, bool spread);
    bool arm_some(uint64_t slice_end_ns);
    // The drain that ends first of those that it is in; begin_ns 0: none.
    struct DrainTime {
        uint64_t begin_ns = 0, until_ns = 0;  // until_ns 0: no limit
        bool spread = false;
    };
    DrainTime drain_of(Connection c) const;
    // By descriptor, from `*next` on, which is 0 at first. True: none is left.
    bool end_some(slot::CloseReason reason, int* next, uint64_t slice_end_ns);
    // Nothing of an earlier seat's holder holds our files any more; else close() alone would not end a
    // connection.
    bool files_are_ours() const;

    slot::Journal& journal() { return journal_; }
    slot::ChunkPool& chunks() { return chunks_; }
    slot::SlotMemory& memory() { return memory_; }
    slot::AddressCounts& addresses() { return addresses_; }
    slot::Quarantine quarantine() { return counts_.quarantine(); }
    // What it is known by in the quarantine: its identity, else its address; 0: neither.
    uint64_t quarantine_key(Connection c) const;
    bool refuses_identity(uint32_t listener, std::string_view identity) {
        return quarantine().refuses(addresses_.key_of_name(listener, identity), now_);
    }
    uint64_t key_of(Connection c) const { return addresses_.key_of(c->owner, c->address_family, c->address); }
    const Poller& poller() const { return poller_; }
    void count_adopted(uint32_t open) { open_ = open; }
    // The chunk that is received into; made sure of at adoption.
    bool have_receive_chunk();

private:
    void on_readable(Connection c);
    uint32_t most_received(Connection c, slot::ChunkId chunk) const;
    void on_end_of_input(Connection c);
    void on_error(Connection c, int error = 0);  // 0: SO_ERROR tells
    void on_send_error(Connection c, int error);
    void on_gone(Connection c);
    bool passes_on(Connection c) const;
    bool has_words(Connection c) const;
    void fail(Connection c, slot::CloseReason reason, uint16_t flags);
    slot::CloseReason reason_of(Connection c, int error) const;
    void unregister(Connection c);
    void on_dial_event(Connection c, uint32_t events);
    void on_stale_event(PollTag tag);
    void hand_on(Connection source);
    void commit_step(slot::Changes& changes);
    void carry_out(slot::Changes& changes, Connection source, const Step& step);
    void drop(Connection source);

    // The chain of a connection's output as it will be once a redo log is committed.
    struct Tail {
        uint64_t out, bytes;
        uint64_t range;       // of its last chunk; 0: it has none
        slot::ChunkId fresh;  // its last one, if nobody names that yet: changes at once; else 0
    };
    void send_fresh(slot::Changes& changes, Connection source, Connection target, Bytes bytes);
    void append(slot::Changes& changes, Connection target, const Addition* addition, Bytes run);
    void keep(slot::Changes& changes, Tail& tail, Bytes bytes);
    bool fits_behind(slot::Changes& changes, Tail& tail, const char* bytes, uint32_t count);
    void copy(slot::Changes& changes, Tail& tail, slot::ChunkId chunk, const char* bytes, uint32_t count);
    void hang(slot::Changes& changes, Tail& tail, slot::ChunkId chunk);
    void note_appended(Connection target);
    void push_appended(Connection source);
    void push(Connection target);
    void take_steps(Connection source);
    void flush(Connection c);
    void after_output(Connection c);
    void complete_send(slot::Changes& changes, Connection source, Connection target, Bytes bytes,
                       uint32_t sent);
    void complete_flush(Connection c, uint32_t sent);
    bool pass_end(Connection from);
    bool pass_failure(Connection from);
    void go_on_closing(Connection c);
    void leave_peer(Connection c, Connection peer);
    void doom(slot::Changes& changes, Connection c, slot::CloseReason reason, bool reset);
    void publish_free(Connection c);
    void log_end(Connection c);

    uint32_t wanted(Connection c) const;
    Connection place(int fd, const slot::Record& fields, slot::RecordWord* word);
    // What is due next about a connection, and in how many ticks.
    struct Due {
        enum class What : uint8_t { end, last_word, dial_timeout, dial_again, handler, look, peer };
        int32_t left = kNoDeadline;
        What what = What::end;
        slot::CloseReason why = slot::CloseReason::none;  // of `end`
    };
    Due next_due(Connection c) const;
    void on_deadline(int fd);
    Patience patience_of(Connection c) const;
    bool is_looked_at(Connection c) const;
    void begin_to_await(Connection c);
    bool look_at_peer(Connection c);
    void on_end_due(Connection c, slot::CloseReason why);
    void on_handler_due(Connection c);

    slot::SlotMemory& memory_;
    slot::SharedCounts& counts_;
    slot::AddressCounts& addresses_;
    slot::Journal journal_;
    slot::ChunkPool chunks_;
    Numbers numbers_;
    Poller poller_;
    Deadlines deadlines_;
    std::array<const Rules*, slot::kMaxListeners> rules_{};
    std::array<uint64_t, 2> appended_to_{};  // Connection::tag; 0: none
    bool is_last_step_ = true;               // the step in hand handles the last of what was received
    std::vector<uint64_t> starved_;          // Connection::tag of those not read for want of buffers
    uint64_t now_ns_ = 0;
    slot::Tick now_ = 0;
    uint32_t open_ = 0;                                 // accepted and dialled
    uint64_t drain_begin_ns_ = 0, drain_until_ns_ = 0;  // 0: no drain, or one without a limit
    bool drain_spread_ = false;
    uint32_t armed_to_ = ~uint32_t{0};  // by the drain that began last; all: by that value
    bool ended_in_round_ = false, needs_new_poller_ = false;
};

}  // namespace tcpd::worker
