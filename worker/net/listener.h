#pragma once

// A listening socket of this slot: accepts in batches and makes records. It lies in our own epoll set, so
// that a batch of new connections costs no turn of libev's; a TCP socket is this slot's own; one that is
// shared by all slots (unix, inherited) is waited for exclusively. Accept errors never stop it for good:
// local faults pause it on a timer. Options of accepted sockets are inherited from the listening one, which
// the master has set. Borrows the descriptor. Worker only. If the process dies between accept4 and the
// record, the journal says so and the successor looks for the orphan. Source: accept(2), "Error handling";
// epoll_ctl(2), EPOLLEXCLUSIVE; unix(7).

#include <cstdint>

#include "daemon/base/net/address.h"
#include "daemon/base/watcher.h"
#include "daemon/slot/shared_counts.h"
#include "worker/net/connections.h"

namespace tcpd::worker {

struct ListenerPlace {
    int fd;
    bool is_unix;
    bool is_shared;
    uint32_t slot, slots;
    uint32_t connection_room;  // of the slot, dialled ones included
};

class Listener {
public:
    Listener(struct ev_loop* loop, Connections& connections, slot::SharedCounts& counts, const Rules& rules,
             const ListenerPlace& place);
    ~Listener() { stop(); }

    int fd() const { return place_.fd; }
    bool is_unix() const { return place_.is_unix; }
    const Rules& rules() const { return rules_; }
    void start();
    void stop();
    // Into a new epoll set, if it was in the old one.
    void restart() {
        if (started_ && !pause_.is_active()) start();
    }
    // From now on only what is queued already is taken, however many still come.
    void begin_to_leave();
    // A batch of that. True: nothing is left of it; then /dev/null is in the socket's place: its number stays
    // taken, and a standby that names it by number finds nothing to accept from.
    bool take_rest(int null_fd);
    bool is_leaving() const { return is_leaving_ && !closed_; }
    // Where other slots take what is queued.
    void leave_to_others(int null_fd);
    bool is_shared() const { return place_.is_shared; }
    void on_acceptable();

    // A descriptor that was accepted from this listener by a predecessor which died before it had a record.
    void adopt_stray(int fd);

private:
    slot::Record make_record(const Address& peer);
    void take(int fd, const Address& peer);
    enum class Step { taken, refused, empty, paused };
    Step accept_one();
    Step on_accept_error(int error);
    bool is_denied(const sockaddr* peer) const;
    bool is_quarantined(const Address& peer);
    Step refuse(int fd, slot::RefuseReason reason, const Address& peer);
    slot::RefuseReason take_place(int fd, const Address& peer);
    bool is_over_limit();
    bool is_over_limit_of_address(uint64_t key);
    uint64_t key_of(const Address& peer) const;  // as that of its record
    bool has_more_than_its_share();
    bool lets_others_go_first();
    bool is_steered() const { return !place_.is_unix && !place_.is_shared; }
    uint32_t slots() const;  // in use by now
    void pause(double seconds);
    void on_pause_over();
    bool has_queue() const;
    uint32_t queued() const;

    Connections& connections_;
    slot::SharedCounts& counts_;
    const Rules& rules_;
    ListenerPlace place_;
    bool started_ = false;
    bool is_leaving_ = false;
    bool closed_ = false;
    uint32_t rest_ = 0;  // to be taken before it is closed, at most
    // Connections that it takes although it has more than its share: in course, and after the next wait.
    int turns_ = 0, next_turns_ = 1;
    TimerWatcher<Listener, &Listener::on_pause_over> pause_;
};

}  // namespace tcpd::worker
