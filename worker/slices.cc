// What takes as long as there are connections, or as others like: in slices of half a millisecond, one a turn of
// the loop, so that whoever is connected is served in between and the watchdog sees that we live. Ends of a
// worker's service are here, since they are made of it.

#include <unistd.h>
#include <algorithm>
#include <array>

#include "daemon/base/clock.h"
#include "daemon/base/fault_point.h"
#include "daemon/base/log.h"
#include "worker/service.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::MessageType;

namespace {

constexpr int kNullFd = 0;  // standard input is /dev/null in every image
constexpr uint64_t kSliceNs = 500'000;

}  // namespace

void Service::on_slice() {
    if (go_on()) slice_.stop();
}

// True: nothing is left to do.
bool Service::go_on() {
    connections_.set_now(monotonic_ns());
    beat();
    const uint64_t slice_end_ns = connections_.now_ns() + kSliceNs;
    bool is_done = take_rests(slice_end_ns);
    is_done = catch_up(slice_end_ns) && connections_.look_at_deadlines(slice_end_ns) && is_done;
    is_done = connections_.arm_some(slice_end_ns) && is_done;
    if (end_reason_ == CloseReason::none) return is_done;
    if (connections_.end_some(end_reason_, &next_to_end_, slice_end_ns)) retire(left_at_end_);
    return false;
}

// After a time in which this process did not run there may be bytes of any connection, and limits on silence
// that are over: the bytes came first. New connections wait, since there may be an order to leave them to others.
bool Service::catch_up(uint64_t slice_end_ns) {
    std::array<epoll_event, 16> events;
    while (left_to_catch_up_ > 0) {
        const int count = connections_.poller().poll(events.data(), static_cast<int>(events.size()));
        if (count == 0) left_to_catch_up_ = 0;
        connections_.set_now(monotonic_ns());
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<size_t>(i)];
            if (PollTag::unpack(event.data.u64).generation != kListenerGeneration)
                connections_.on_event(event);
        }
        left_to_catch_up_ -= std::min(left_to_catch_up_, static_cast<uint32_t>(count));
        if (monotonic_ns() >= slice_end_ns) break;
    }
    return left_to_catch_up_ == 0;
}

bool Service::take_rests(uint64_t slice_end_ns) {
    for (const auto& listener : listeners_) {
        if (!listener->is_leaving()) continue;
        if (!listener->take_rest(kNullFd) || monotonic_ns() >= slice_end_ns) return false;
    }
    return true;
}

bool Service::is_leaving() const {
    return std::any_of(listeners_.begin(), listeners_.end(),
                       [](const auto& listener) { return listener->is_leaving(); });
}

void Service::leave_listeners(bool leaves_queues) {
    for (const auto& listener : listeners_) {
        if (leaves_queues && listener->is_shared())
            listener->leave_to_others(kNullFd);
        else
            listener->begin_to_leave();
    }
}

void Service::begin_drain() {
    if (draining_) return;
    draining_ = true;
    FAULT_POINT(drain_begun);
    const auto& control = image_.memory.master_control();
    drain_end_ns_ = control.drain_end_ns.load();
    const uint32_t manner = control.drain_manner.load();
    leave_listeners((manner & slot::kDrainLeavesQueues) != 0);
    connections_.begin_drain(control.drain_begin_ns.load(), drain_end_ns_,
                             (manner & slot::kDrainSpreads) != 0);
    if (!tick_.is_active()) tick_.start_every(kTickSeconds);
    slice_.start();
}

// What a master would say to a drain, said by ourselves: a successor must find it too.
void Service::on_master_gone() {
    control_.stop();
    if (draining_) return;
    log::error("the master is gone: no new connections, {} go on until they end{}", connections_.open_count(),
               image_.config.drain.stop.count() != 0 ? " or drain.stop" : "");
    auto& control = image_.memory.master_control();
    if (control.drain_begin_ns.load() == 0) {
        const uint64_t now = monotonic_ns();
        const uint64_t limit = to_ns(image_.config.drain.stop);
        control.drain_end_ns.store(limit == 0 ? 0 : now + limit);
        control.drain_manner.store(image_.config.drain.spread ? slot::kDrainSpreads : 0);
        control.drain_begin_ns.store(now, std::memory_order_release);
    }
    begin_drain();
}

void Service::end_if_done() {
    if (end_reason_ != CloseReason::none) return;
    if (connections_.open_count() == 0 && !is_leaving()) retire(0);
    if (drain_end_ns_ != 0 && monotonic_ns() >= drain_end_ns_) begin_end(CloseReason::drain_timeout);
}

// Whoever waits at a listening socket is left to other slots, or goes with it.
void Service::begin_end(CloseReason reason) {
    if (end_reason_ != CloseReason::none) return;
    end_reason_ = reason;
    left_at_end_ = connections_.open_count();
    for (const auto& listener : listeners_) listener->leave_to_others(kNullFd);
    slice_.start();
}

// To retire is to exit: the standby wakes, finds its image out of service and exits as well.
void Service::retire(uint32_t closed_at_end) {
    uint64_t word = slot::ServiceWord{image_.birth.image, 0}.pack();
    image_.memory.master_control().word.compare_exchange_strong(word, 0);
    (void)slot::send_message(slot::kControlFd, {MessageType::drained, closed_at_end});
    log_ring_.flush();
    _exit(slot::kExitRetired);
}

}  // namespace tcpd::worker
