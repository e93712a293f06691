#pragma once

// libev watchers as members of what they call: unmovable, stopped by their destructor. Every process.
//     IoWatcher<Channel, &Channel::on_readable> readable_{loop, this};
// The method is declared before the watcher in its class. Owns the watcher, not the descriptor.
// Source: the libev manual, "WATCHER TYPES".

#include <ev.h>

#include <cstdint>

namespace tcpd {

namespace watcher_detail {
template <typename Raw, typename Owner, void (Owner::*Method)()>
class Base {
public:
    Base(struct ev_loop* loop, Owner* owner) : loop_(loop) {
        ev_init(&raw_, &Base::on_event);
        raw_.data = owner;
    }
    Base(const Base&) = delete;
    Base& operator=(const Base&) = delete;
    bool is_active() const { return ev_is_active(&raw_); }

protected:
    static void on_event(struct ev_loop*, Raw* raw, int) { (static_cast<Owner*>(raw->data)->*Method)(); }
    struct ev_loop* loop_;
    Raw raw_{};
};
}  // namespace watcher_detail

// `events`: EV_READ, EV_WRITE or both; the method finds out which by trying.
template <typename Owner, void (Owner::*Method)()>
class IoWatcher : public watcher_detail::Base<ev_io, Owner, Method> {
public:
    using watcher_detail::Base<ev_io, Owner, Method>::Base;
    ~IoWatcher() { stop(); }
    void start(int fd, int events = EV_READ) {
        stop();
        ev_io_set(&this->raw_, fd, events);
        ev_io_start(this->loop_, &this->raw_);
    }
    void stop() { ev_io_stop(this->loop_, &this->raw_); }
};

// Seconds as a double, since libev counts so.
template <typename Owner, void (Owner::*Method)()>
class TimerWatcher : public watcher_detail::Base<ev_timer, Owner, Method> {
public:
    using watcher_detail::Base<ev_timer, Owner, Method>::Base;
    ~TimerWatcher() { stop(); }
    void start_once(double seconds) { start(seconds, 0); }
    void start_every(double seconds) { start(seconds, seconds); }
    void stop() { ev_timer_stop(this->loop_, &this->raw_); }

private:
    void start(double after, double repeat) {
        stop();
        ev_now_update(this->loop_);
        ev_timer_set(&this->raw_, after, repeat);
        ev_timer_start(this->loop_, &this->raw_);
    }
};

template <typename Owner, void (Owner::*Method)()>
class SignalWatcher : public watcher_detail::Base<ev_signal, Owner, Method> {
public:
    using watcher_detail::Base<ev_signal, Owner, Method>::Base;
    ~SignalWatcher() { stop(); }
    void start(int signal_number) {
        stop();
        ev_signal_set(&this->raw_, signal_number);
        ev_signal_start(this->loop_, &this->raw_);
    }
    void stop() { ev_signal_stop(this->loop_, &this->raw_); }
};

// Called before the loop goes to sleep.
template <typename Owner, void (Owner::*Method)()>
class PrepareWatcher : public watcher_detail::Base<ev_prepare, Owner, Method> {
public:
    using watcher_detail::Base<ev_prepare, Owner, Method>::Base;
    ~PrepareWatcher() { stop(); }
    void start() { ev_prepare_start(this->loop_, &this->raw_); }
    void stop() { ev_prepare_stop(this->loop_, &this->raw_); }
};

// Called once a turn, before what is waited for, whatever else happens in it; while it is started, the loop does
// not sleep. For work that goes on in slices.
template <typename Owner, void (Owner::*Method)()>
class TurnWatcher : public watcher_detail::Base<ev_idle, Owner, Method> {
public:
    TurnWatcher(struct ev_loop* loop, Owner* owner)
        : watcher_detail::Base<ev_idle, Owner, Method>(loop, owner) {
        ev_set_priority(&this->raw_, EV_MAXPRI);  // idle is who has nothing of its own priority to do
    }
    ~TurnWatcher() { stop(); }
    void start() { ev_idle_start(this->loop_, &this->raw_); }
    void stop() { ev_idle_stop(this->loop_, &this->raw_); }
};

}  // namespace tcpd
