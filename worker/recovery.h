#pragma once

// What whoever takes a seat does before it serves: checks all that lies in slot memory, rebuilds what is not
// stored, and goes on with what the predecessor had in hand, exact to the byte. Worker only. Every field is
// checked before it is used; a record that can't be trusted is closed, logged and counted, never followed. If
// the process dies in here, the next one begins again: each step leaves the journal as the data path would.
// Three deaths with the same journal word end the connection in hand.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "worker/net/connections.h"
#include "worker/net/listener.h"
#include "worker/net/socket_counts.h"

namespace tcpd::worker {

class Recovery {
public:
    Recovery(Connections& connections, slot::SharedCounts& counts,
             const std::vector<std::unique_ptr<Listener>>& listeners);

    // `first`: the image is new and this slot has served nobody, so nothing is counted as adopted.
    // `after_fault`: who held the seat before gave it away in a fault.
    void adopt(bool first, slot::Cause cause, bool after_fault = false);

private:
    struct Found {
        uint32_t live = 0;
        std::vector<int> doomed, untrusted, unwatched;
        uint64_t open[slot::kMaxListeners] = {};
    };

    void leave_out_own();
    slot::JournalWord begin(bool first);
    void begin_addresses();
    Found scan();
    void check(Connection c, Found& found);
    bool is_sound(Connection c) const;
    bool is_pair_sound(Connection c) const;
    bool mark_chain(Connection c);
    void count(const Found& found, bool first, slot::Cause cause);
    void settle_receive_chunk();
    bool is_hand_sound(const Found& found) const;
    void end_untrusted(const Found& found);

    void resume(slot::JournalWord word);
    bool faults_again(Connection source) const;
    void quarantine(Connection source);
    void resume_receiving(Connection source);
    void resume_received(Connection source, uint32_t count);
    void resume_sending(Connection source, uint32_t begun);
    void resume_flushing(Connection target, uint32_t asked);
    void adopt_strays(uint32_t listener);
    void close_strays();
    std::vector<int> strays();
    Listener* listener_of(int fd, uint32_t id) const;
    bool is_buffer_sound() const;
    void advance_in_hand();
    void advance(int fd, uint32_t generation);
    void lose(Connection c, slot::CloseReason reason);
    void give_up(Connection c, slot::CloseReason reason);
    void doom_untrusted(const Found& found);
    std::optional<uint64_t> taken_of(Connection source, const SocketCounts& counts);
    Connection in_hand(int fd, uint32_t generation) const;

    Connections& connections_;
    slot::SharedCounts& counts_;
    const std::vector<std::unique_ptr<Listener>>& listeners_;
    slot::JournalPage& page_;
    slot::Cause cause_ = slot::Cause::crash;
    bool after_fault_ = false;
};

}  // namespace tcpd::worker
