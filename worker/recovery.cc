#include "worker/recovery.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/base/fault_point.h"
#include "daemon/base/log.h"
#include "daemon/slot/control_message.h"
#include "worker/net/close_line.h"
#include "worker/net/socket_counts.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::JournalWord;
using slot::Phase;
using slot::State;

namespace {
constexpr uint32_t kMostTries = 3;

// Where a recovery begins. Of what was received, each step is handled under the same word; the bytes that are
// done with have room between its phase and its count.
uint64_t place_of(JournalWord word, uint64_t handled_bytes) {
    static_assert(slot::kLargeChunkBytes < 1 << 24);
    return word.pack() | (handled_bytes & 0xFFFFFF) << 32;
}

void set_reason(Connection c, CloseReason reason, State state) {
    slot::RecordWord word = c.word();
    word.reason = static_cast<uint8_t>(reason);
    word.state = state;
    *static_cast<volatile uint64_t*>(&c->word) = word.pack();
}
}  // namespace

Recovery::Recovery(Connections& connections, slot::SharedCounts& counts,
                   const std::vector<std::unique_ptr<Listener>>& listeners)
    : connections_(connections),
      counts_(counts),
      listeners_(listeners),
      page_(connections.journal().page()) {}

void Recovery::adopt(bool first, slot::Cause cause, bool after_fault) {
    cause_ = cause;
    after_fault_ = after_fault;
    FAULT_POINT(adopt_before);
    leave_out_own();
    const JournalWord word = begin(first);
    begin_addresses();
    Found found = scan();
    doom_untrusted(found);
    settle_receive_chunk();
    connections_.chunks().rebuild();
    if (page_.receive_chunk != 0)
        connections_.chunks().leave_out(static_cast<slot::ChunkId>(page_.receive_chunk));
    count(found, first, cause);
    for (const int fd : found.unwatched) connections_.rewatch(connections_.at(fd));
    if (is_hand_sound(found)) {
        resume(word);
        advance_in_hand();
    } else {
        connections_.journal().publish_idle();
    }
    for (const int fd : found.doomed) {
        if (const Connection c = connections_.at(fd); c && c.state() == State::doomed) connections_.finish(c);
    }
    end_untrusted(found);
    page_.recovery_tries = 0;
    page_.last_place = 0;
    FAULT_POINT(adopt_done);
}

// A record of a listening socket's number is nobody's: to end it would close the socket.
void Recovery::leave_out_own() {
    for (const int fd : connections_.numbers().own()) {
        if (!connections_.at(fd)) continue;
        log::error("slot memory: descriptor {} is a listening socket, its record is left out", fd);
        slot::RecordWord word = connections_.at(fd).word();
        word.state = State::free;
        connections_.record(fd).word = word.pack();
    }
}

// Ends of connections write the journal, so what it names comes before all of them.
bool Recovery::is_hand_sound(const Found& found) const {
    return std::none_of(found.untrusted.begin(), found.untrusted.end(),
                        [this](int fd) { return fd == page_.source_fd || fd == page_.target_fd; });
}

// The redo log first: until it is applied, records may disagree with each other.
JournalWord Recovery::begin(bool first) {
    const JournalWord word = connections_.journal().word();
    auto& recovered = connections_.memory().counters().recovered;
    if (!first && word.phase < Phase::count) ++recovered[static_cast<size_t>(word.phase)];
    const uint64_t place = place_of(word, page_.handled_bytes);
    page_.recovery_tries = place == page_.last_place ? page_.recovery_tries + 1 : 1;
    page_.last_place = place;
    if (word.phase != Phase::redo) return word;
    if (connections_.journal().reapply()) return connections_.journal().word();
    log::error("slot memory: the redo log is not to be trusted, it was not applied");
    give_up(in_hand(page_.target_fd, page_.target_generation), CloseReason::untrusted_record);
    give_up(in_hand(page_.source_fd, page_.source_generation), CloseReason::untrusted_record);
    connections_.journal().publish_idle();
    return {};
}

// The predecessor's table stands for the other slots until `count` publishes this one.
void Recovery::begin_addresses() {
    const uint32_t number = connections_.memory().slot_number();
    uint64_t open = 0;
    bool is_counted = false;
    for (uint32_t id = 0; id < slot::kMaxListeners; ++id) {
        const Rules* rules = connections_.rules_of(id);
        if (rules == nullptr || rules->connections_per_ip == 0) continue;
        is_counted = true;
        open += std::min<uint64_t>(rules->counters->open, connections_.record_count());
    }
    slot::AddressCounts& addresses = connections_.addresses();
    if (!is_counted) return addresses.drop_table(number);
    addresses.begin_table(number,
                          static_cast<uint32_t>(std::min<uint64_t>(open, connections_.record_count())));
}

Recovery::Found Recovery::scan() {
    Found found;
    const uint32_t end = connections_.memory().end_of_records();
    for (uint32_t fd = slot::kFirstListenFd; fd < end; ++fd) {
        if (const Connection c = connections_.at(static_cast<int>(fd))) check(c, found);
    }
    return found;
}

void Recovery::check(Connection c, Found& found) {
    ++found.live;
    const Rules* rules = connections_.rules_of(c->owner);
    if (rules != nullptr && c->needs < rules->needs) {
        c->needs = rules->needs;  // its stanza has changed
        connections_.memory().raise_needs(c->needs);
    }
    if (rules != nullptr && !c.is_dialled()) {
        ++found.open[c->owner];
        if (rules->connections_per_ip != 0) connections_.addresses().add(connections_.key_of(c));
    }
    if (c.state() == State::doomed && rules != nullptr) {
        c->out = 0;
        rules->handler->forget(c);
        if (c.word().reason >= slot::kReasons) set_reason(c, CloseReason::untrusted_record, State::doomed);
        found.doomed.push_back(c.fd());
        return;
    }
    if (rules == nullptr || !is_sound(c) || !mark_chain(c) || !rules->handler->is_sound(c)) {
        found.untrusted.push_back(c.fd());
        return;
    }
    if (!connections_.is_watched_right(c)) found.unwatched.push_back(c.fd());
    connections_.arm(c);
}

// What is wrong with a record is put right only when the record says that its connection is to end: whoever comes
// after one more death would find it sound.
void Recovery::doom_untrusted(const Found& found) {
    for (const int fd : found.untrusted) {
        const Connection c = connections_.at(fd);
        const Rules* rules = connections_.rules_of(c->owner);
        log::error("slot memory: the record of descriptor {} is not to be trusted, its connection is closed",
                   fd);
        if (rules == nullptr || !is_pair_sound(c)) c->peer = kNoPeer;
        give_up(c, CloseReason::untrusted_record);
        c->out = c->out_bytes = 0;
        if (rules != nullptr) rules->handler->forget(c);
    }
}

bool Recovery::is_sound(Connection c) const {
    const slot::RecordWord word = c.word();
    if (word.state > State::doomed || word.kind > slot::Kind::dialled_unix) return false;
    if (c->server >= 0x10000000 || (c->out == 0) != (c->out_bytes == 0)) return false;
    if ((word.flags & slot::kClosing) != 0 && word.reason >= slot::kReasons) return false;
    if (c->peer != kNoPeer) return is_pair_sound(c);
    if (c.is_dialled()) return false;
    if (!connections_.rules_of(c)->handler->needs_peer(c)) return word.state == State::open;
    return word.state == State::waiting || (word.flags & slot::kClosing) != 0;
}

bool Recovery::is_pair_sound(Connection c) const {
    const Connection peer = connections_.peer_of(c);
    if (!peer || peer == c || peer->peer != c.tag() || peer->owner != c->owner) return false;
    if (peer.is_dialled() == c.is_dialled()) return false;
    const Connection dialled = c.is_dialled() ? c : peer;
    const Connection client = c.is_dialled() ? peer : c;
    if (!connections_.rules_of(client)->handler->needs_peer(client)) return false;
    if (dialled.state() == State::dialing) return client.state() == State::waiting;
    return client.state() == dialled.state();
}

bool Recovery::mark_chain(Connection c) {
    slot::ChunkPool& chunks = connections_.chunks();
    const uint64_t last = c->out & 0xFFFFFFFF;
    uint64_t bytes = 0;
    for (uint64_t id = c->out >> 32; id != 0;) {
        if (!chunks.is_valid(id) || !chunks.mark_used(static_cast<slot::ChunkId>(id))) return false;
        const slot::ChunkLink link = chunks.link(static_cast<slot::ChunkId>(id));
        const uint64_t begin = link.range >> 32;
        const uint64_t end = link.range & 0xFFFFFFFF;
        if (begin >= end || end > chunks.bytes(static_cast<slot::ChunkId>(id))) return false;
        bytes += end - begin;
        if (id == last) return bytes == c->out_bytes;
        id = link.next;
    }
    return c->out == 0;
}

void Recovery::count(const Found& found, bool first, slot::Cause cause) {
    connections_.count_adopted(found.live);
    connections_.addresses().publish_table();
    const uint32_t number = connections_.memory().slot_number();
    for (uint32_t id = 0; id < slot::kMaxListeners; ++id) {
        const Rules* rules = connections_.rules_of(id);
        if (rules == nullptr) continue;
        rules->counters->open = found.open[id];
        counts_.open(id, number).store(static_cast<uint32_t>(found.open[id]), std::memory_order_relaxed);
        if (!first) rules->counters->adopted[static_cast<size_t>(cause)] += found.open[id];
    }
    if (first) counts_.steered(number).store(0, std::memory_order_relaxed);
}

void Recovery::settle_receive_chunk() {
    slot::ChunkPool& chunks = connections_.chunks();
    const uint64_t id = page_.receive_chunk;
    const bool sound = chunks.is_valid(id) &&
                       chunks.bytes(static_cast<slot::ChunkId>(id)) == slot::kLargeChunkBytes &&
                       chunks.mark_used(static_cast<slot::ChunkId>(id));
    if (!sound) page_.receive_chunk = 0;
}

void Recovery::end_untrusted(const Found& found) {
    for (const int fd : found.untrusted) {
        const Connection c = connections_.at(fd);
        if (!c) continue;
        if (connections_.rules_of(c->owner) == nullptr) {
            connections_.forget(c);
        } else {
            connections_.end(c, CloseReason::untrusted_record, true);
        }
    }
}

// Counted and said; what is left of it is done with the other doomed ones, or by whoever comes after a death.
void Recovery::give_up(Connection c, CloseReason reason) {
    if (!c || c.state() == State::doomed) return;
    const Rules* rules = connections_.rules_of(c->owner);
    connections_.doom_at_once(c, reason);
    if (rules == nullptr) return;
    ++rules->counters->lost[static_cast<size_t>(cause_)];
    log::error("connection {} of listener \"{}\" from {} was lost in a succession: {}",
               connection_name(c.record()), rules->name, peer_name(c.record()), name_of(reason));
}

void Recovery::lose(Connection c, CloseReason reason) {
    if (!c) return;
    give_up(c, reason);
    connections_.journal().publish_idle();
    connections_.end(c, reason, true);
}

Connection Recovery::in_hand(int fd, uint32_t generation) const {
    const Connection c = connections_.at(fd);
    return c && c.generation() == generation ? c : Connection();
}

// Twice is what two deaths in the same place of two busy connections look like; three times is no chance.
void Recovery::resume(JournalWord word) {
    const Connection source = in_hand(page_.source_fd, page_.source_generation);
    if (page_.recovery_tries > kMostTries && word.phase != Phase::idle && source) {
        return lose(source, CloseReason::stuck_recovery);
    }
    const bool needs_source = word.phase == Phase::receiving || word.phase == Phase::received ||
                              word.phase == Phase::sending || word.phase == Phase::flushing;
    if (needs_source && (!source || source.state() != State::open)) {
        return connections_.journal().publish_idle();
    }
    if (after_fault_ && word.phase == Phase::received && faults_again(source)) return quarantine(source);
    switch (word.phase) {
        case Phase::receiving: return resume_receiving(source);
        case Phase::received: return resume_received(source, word.count);
        case Phase::sending: return resume_sending(source, word.count);
        case Phase::flushing: return resume_flushing(source, word.count);
        case Phase::accepting: return adopt_strays(word.count);
        case Phase::dialing: return close_strays();
        default: connections_.journal().publish_idle();
    }
}

// A worker fell over what it had received of this connection, and one before it over the same.
bool Recovery::faults_again(Connection source) const {
    const auto at = static_cast<uint32_t>(source->received);
    const bool is_same = source->faults != 0 && source->faulted_at == at;
    source->faults = 1;
    source->faulted_at = at;
    return is_same;
}

void Recovery::quarantine(Connection source) {
    const Rules& rules = *connections_.rules_of(source);
    const uint64_t key = connections_.quarantine_key(source);
    const bool is_refused = key != 0 && connections_.quarantine().note(key, connections_.now());
    log::error(
        "QUARANTINE: connection {} of listener \"{}\" from {} is closed: what it sent brought a worker down "
        "twice{}",
        connection_name(source.record()), rules.name, peer_name(source.record()),
        is_refused ? "; it did so three times in ten minutes and is refused for the next ten" : "");
    connections_.doom_at_once(source, CloseReason::quarantined);
    connections_.journal().publish_idle();
    connections_.end(source, CloseReason::quarantined, true);
}

void Recovery::resume_receiving(Connection source) {
    if (!is_buffer_sound()) return lose(source, CloseReason::untrusted_record);
    if (!source.is_tcp()) return lose(source, CloseReason::unix_in_flight);
    const SocketCounts counts = count_bytes(source.fd(), source.has(slot::kEndOut), source.is_dialled());
    if (!counts.is_known) return lose(source, CloseReason::untrusted_record);
    const std::optional<uint64_t> taken = taken_of(source, counts);
    FAULT_POINT(recovery_counted_not_published);
    if (!taken) {
        connections_.doom_at_once(source, static_cast<CloseReason>(source.word().reason));
        connections_.journal().publish_idle();
        return connections_.end(source, static_cast<CloseReason>(source.word().reason), true);
    }
    if (*taken == 0) return connections_.journal().publish_idle();
    if (*taken > page_.buffer_bytes) return lose(source, CloseReason::untrusted_record);
    connections_.journal().publish_received(static_cast<uint32_t>(*taken));
    connections_.resume_received(source);
}

// How much the predecessor's recv took. Of a socket that was reset the books don't say whether a FIN came before;
// the error does, once: where a send was told it before, or a successor that died since, none is the answer, unless
// the books have one byte too few, which that FIN would be.
std::optional<uint64_t> Recovery::taken_of(Connection source, const SocketCounts& counts) {
    const bool had_failed = source.has(slot::kFailed);
    const bool is_nothing = counts.taken + 1 == source->received;  // and there was no FIN
    if (!counts.is_reset && !is_nothing && !had_failed) return counts.taken - source->received;
    if (!had_failed) connections_.resume_reset(source);
    if (is_nothing) return 0;
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(source.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (had_failed || error == 0) return std::nullopt;
    return counts.taken - source->received - (error == EPIPE ? 1 : 0);
}

void Recovery::resume_received(Connection source, uint32_t count) {
    const bool sound = is_buffer_sound() && count == page_.received_bytes && count <= page_.buffer_bytes &&
                       page_.handled_bytes <= count;
    if (!sound) return lose(source, CloseReason::untrusted_record);
    connections_.resume_received(source);
}

void Recovery::resume_sending(Connection source, uint32_t begun) {
    const Connection target = connections_.rules_of(source)->handler->sink_of(source);
    const bool sound = is_buffer_sound() && target && page_.send_at >= page_.buffer_at &&
                       page_.send_at + page_.send_bytes <= page_.buffer_at + page_.buffer_bytes &&
                       page_.received_bytes <= page_.buffer_bytes &&
                       page_.handled_bytes <= page_.received_bytes && !target.has_output() &&
                       connections_.journal().is_sound(begun);
    if (!sound) return lose(source, CloseReason::untrusted_record);
    if (!target.is_tcp()) return lose(source, CloseReason::unix_in_flight);
    const SocketCounts counts = count_bytes(target.fd(), target.has(slot::kEndOut), target.is_dialled());
    const uint64_t sent = counts.given - target->sent;
    FAULT_POINT(recovery_counted_not_published);
    if (!counts.is_known || sent > page_.send_bytes) return lose(source, CloseReason::untrusted_record);
    connections_.resume_sent(source, begun, target, static_cast<uint32_t>(sent));
}

void Recovery::resume_flushing(Connection target, uint32_t asked) {
    if (!target.is_tcp()) return lose(target, CloseReason::unix_in_flight);
    const SocketCounts counts = count_bytes(target.fd(), target.has(slot::kEndOut), target.is_dialled());
    const uint64_t sent = counts.given - target->sent;
    FAULT_POINT(recovery_counted_not_published);
    if (counts.is_known && sent == 0) return connections_.journal().publish_idle();
    if (!counts.is_known || sent > asked || sent > target->out_bytes)
        return lose(target, CloseReason::untrusted_record);
    connections_.resume_flushed(target, static_cast<uint32_t>(sent));
}

bool Recovery::is_buffer_sound() const {
    if (page_.receive_chunk == 0) return false;
    const auto chunk = static_cast<slot::ChunkId>(page_.receive_chunk);
    const uint64_t at = connections_.memory().offset_of(connections_.chunks().data(chunk));
    return page_.buffer_at == at && page_.buffer_bytes == connections_.chunks().bytes(chunk);
}

// Of `id`, and at the address that the descriptor was accepted at; none: it is not known whose it is.
Listener* Recovery::listener_of(int fd, uint32_t id) const {
    for (const auto& one : listeners_) {
        if (one->rules().id == id && is_accepted_from(fd, one->fd())) return one.get();
    }
    return nullptr;
}

// Killed between accept4 and its record, a descriptor is open and listed nowhere. Its bytes are still in the
// kernel.
void Recovery::adopt_strays(uint32_t listener) {
    for (const int fd : strays()) {
        if (look_at_stray(fd) == Stray::unconnected) {
            close(fd);
        } else if (Listener* whose = listener_of(fd, listener)) {
            whose->adopt_stray(fd);
            ++connections_.memory().counters().orphans_adopted;
        }
    }
    connections_.journal().publish_idle();
}

void Recovery::close_strays() {
    connections_.journal().publish_idle();
    for (const int fd : strays()) {
        if (look_at_stray(fd) != Stray::unconnected) continue;
        close(fd);
        ++connections_.memory().counters().orphans_closed;
    }
}

// Sockets without a record, where a connection may be.
std::vector<int> Recovery::strays() {
    std::vector<int> found;
    const auto end = static_cast<int>(connections_.memory().end_of_records(slot::kUnrecordedDescriptors));
    for (int fd = slot::kFirstListenFd; fd < end; ++fd) {
        if (connections_.at(fd) || !connections_.numbers().may_be_connection(fd)) continue;
        const Stray stray = look_at_stray(fd);
        if (stray == Stray::unconnected || stray == Stray::connected) found.push_back(fd);
    }
    return found;
}

void Recovery::advance_in_hand() {
    const int source = page_.source_fd;
    const int target = page_.target_fd;
    const uint32_t source_generation = page_.source_generation;
    const uint32_t target_generation = page_.target_generation;
    advance(source, source_generation);
    advance(target, target_generation);
}

// All that may have been left undone follows from the record: what was done already is done again without
// effect.
void Recovery::advance(int fd, uint32_t generation) {
    const Connection c = in_hand(fd, generation);
    if (!c) return;
    connections_.take_in_hand(c);
    Handler* handler = connections_.rules_of(c)->handler;
    if (c.state() == State::doomed) return connections_.finish(c);
    if (c.state() == State::dialing) return handler->on_resumed(c);
    connections_.rewatch(c);
    if (c.state() == State::waiting && c->peer == kNoPeer) return handler->on_accepted(c);
    if (c.state() != State::open) return;
    if (c.has(slot::kEndOut)) shutdown(c.fd(), SHUT_WR);
    connections_.press_back_around(c);
    connections_.advance(c);
}

}  // namespace tcpd::worker
