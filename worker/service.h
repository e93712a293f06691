#pragma once

// A worker at work: adopts what is in the slot, then runs the loop until its end. One libev loop: our own
// epoll set is one watcher of it, beside timers, signals and the control socket. Owns
// nothing that outlives the process; the loop is the image's. Worker only. If it dies, the standby's image
// begins here again with the same slot memory.

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/base/log.h"
#include "daemon/base/watcher.h"
#include "worker/image.h"
#include "worker/log_ring.h"
#include "worker/net/connections.h"
#include "worker/net/dial.h"
#include "worker/net/listener.h"

namespace tcpd::worker {

// Is one more look into our own epoll set likely to find something?
class StayingPower {
public:
    bool is_worth_a_look() { return credit_ > 0 || ++left_out_ % 16 == 0; }
    void note(bool found) { credit_ = found ? kMost : credit_ - 1 < 0 ? 0 : credit_ - 1; }

private:
    static constexpr int kMost = 3;
    int credit_ = kMost;
    unsigned left_out_ = 0;
};

class Service {
public:
    explicit Service(Image& image);
    [[noreturn]] void run();

private:
    static constexpr double kTickSeconds = 0.05;

    void make_rules();
    void make_listeners();
    std::unique_ptr<Handler> make_handler(const conf::Listener& listener, const conf::Config& config);
    const conf::Config& config_of(const slot::BirthOwner& born) const;
    void adopt();

    void on_connections_ready();
    bool dispatch_events(uint64_t until_ns);
    void forget_outdated_events();
    void replace_poller();
    void on_control();
    void on_message(slot::Received& received);
    void on_tick();
    void on_heartbeat();
    void on_term();
    void before_sleep();
    void beat();

    void hand_over(slot::Received& received);
    void park();
    void unpark(uint32_t attempt, slot::HandOverEnd end);
    void start_listeners();
    void close_left_sockets();
    void on_cut(const slot::Message& message);
    void replace_log(const slot::Received& received);
    void sweep();

    // slices.cc
    void on_slice();
    bool go_on();
    void look_at_clock();
    bool catch_up(uint64_t slice_end_ns);
    bool take_rests(uint64_t slice_end_ns);
    void begin_drain();
    void on_master_gone();
    void leave_listeners(bool leaves_queues);
    bool is_leaving() const;
    void end_if_done();
    void begin_end(slot::CloseReason reason);
    [[noreturn]] void retire(uint32_t closed_at_end);
    void dispatch(const epoll_event& event);
    double heartbeat_seconds() const;
    void settle_steered();

    Image& image_;
    LogRing log_ring_;
    Connections connections_;
    Dialer dialer_;
    std::vector<std::unique_ptr<Handler>> handlers_;
    std::vector<std::unique_ptr<Rules>> rules_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    std::array<epoll_event, 256> events_;
    size_t event_count_ = 0, next_event_ = 0;  // those from the latter on wait for the next turn
    StayingPower stay_;
    uint64_t settled_ns_ = 0;
    int32_t steered_excess_ = 0;  // at that time
    bool draining_ = false;
    uint64_t drain_end_ns_ = 0;
    uint32_t left_to_catch_up_ = 0;  // events, at most
    // All that is left is being ended, for this reason; none: it is not.
    slot::CloseReason end_reason_ = slot::CloseReason::none;
    int next_to_end_ = 0;
    uint32_t left_at_end_ = 0;
    uint32_t swept_to_ = 0;
    uint64_t told_dropped_lines_ = log::dropped_lines();  // by now in slot memory

    IoWatcher<Service, &Service::on_connections_ready> connections_ready_;
    IoWatcher<Service, &Service::on_control> control_;
    TimerWatcher<Service, &Service::on_tick> tick_;
    TimerWatcher<Service, &Service::on_heartbeat> heartbeat_;
    SignalWatcher<Service, &Service::on_term> term_;
    PrepareWatcher<Service, &Service::before_sleep> before_sleep_;
    TurnWatcher<Service, &Service::on_slice> slice_;
};

// Never returns: it exits, or dies.
[[noreturn]] void serve(Image& image);

}  // namespace tcpd::worker
