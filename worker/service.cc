#include "worker/service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/base/fault_point.h"
#include "daemon/base/log.h"
#include "worker/handler/discard.h"
#include "worker/handler/echo.h"
#include "worker/handler/framed.h"
#include "worker/handler/proxy.h"
#include "worker/life.h"
#include "worker/recovery.h"
#include "worker/renewal/table_sender.h"

namespace tcpd::worker {

using slot::CloseReason;
using slot::MessageType;

namespace {

constexpr uint64_t kSettleNs = 1'000'000'000;
constexpr int kMostRounds = 64;                  // in our own epoll set before libev has its turn again
constexpr uint64_t kStoodStillNs = 200'000'000;  // between two looks at the clock, of which there are more
constexpr uint32_t kSweepStep = 2048;
constexpr uint64_t kTurnNs =
    2'000'000;                     // for what came from connections, before everything else has its turn
constexpr int kMostMessages = 16;  // of the master, in a turn

// What an upstream sends is bound by its framing, not by what this listener takes from clients.
conf::Framing replies_of(const conf::Listener& listener, const conf::Config& config) {
    conf::Framing replies = listener.reply_framing();
    const conf::Framing& declared = *conf::find_framing(replies.name, config.framings);
    replies.max_frame_bytes = std::max(replies.max_frame_bytes, declared.max_frame_bytes);
    return replies;
}

}  // namespace

Service::Service(Image& image)
    : image_(image),
      log_ring_(image.memory.log_ring()),
      connections_(image.memory, image.counts, image.addresses, slot::kBuffersFd, image.poller_fd),
      dialer_(connections_, image.birth.connection_room),
      swept_to_(image.first_connection_fd),
      connections_ready_(image.loop, this),
      control_(image.loop, this),
      tick_(image.loop, this),
      heartbeat_(image.loop, this),
      term_(image.loop, this),
      before_sleep_(image.loop, this),
      slice_(image.loop, this) {
    connections_.set_now(monotonic_ns());
    connections_.chunks().set_budgets(image.config.memory.worker_bytes, image.config.memory.total_bytes);
    make_rules();
    make_listeners();
}

std::unique_ptr<Handler> Service::make_handler(const conf::Listener& listener, const conf::Config& config) {
    const conf::Handler& handler = listener.handler;
    std::unique_ptr<Proxy> proxy;
    if (handler.kind == conf::HandlerKind::proxy) {
        proxy = std::make_unique<Proxy>(connections_, dialer_, config.upstreams[handler.upstream],
                                        image_.counts.turn(handler.upstream));
    }
    if (listener.framing.kind != conf::FramingKind::raw) {
        return std::make_unique<Framed>(connections_, listener, std::move(proxy),
                                        replies_of(listener, config));
    }
    if (proxy) return proxy;
    if (handler.kind == conf::HandlerKind::discard) return std::make_unique<Discard>();
    return std::make_unique<Echo>();
}

const conf::Config& Service::config_of(const slot::BirthOwner& born) const {
    const auto former = image_.former_configs.find(born.bundle_fd);
    return former == image_.former_configs.end() ? image_.config : former->second;
}

namespace {

// The level of the newest thing that connections of the stanza may have in slot memory.
uint8_t level_of([[maybe_unused]] const conf::Listener& listener) {
#ifdef TCPD_TRIAL_LEVEL
    if (listener.name == "trial") return slot::kLevel;
#endif
    return 1;
}

}  // namespace

void Service::make_rules() {
    for (const slot::BirthOwner& born : image_.birth.owners) {
        const conf::Config& config = config_of(born);
        const conf::Listener& listener = config.listeners[born.index];
        handlers_.push_back(make_handler(listener, config));
        auto rules = std::make_unique<Rules>();
        rules->id = born.id;
        rules->needs = level_of(listener);
        rules->name = listener.name;
        rules->idle = ticks_of(to_ns(listener.timeouts.idle));
        rules->half_close = ticks_of(to_ns(listener.timeouts.half_close));
        rules->closing = ticks_of(to_ns(listener.timeouts.closing));
        rules->slow_reader = ticks_of(to_ns(listener.timeouts.slow_reader));
        rules->client_gone = ticks_of(to_ns(listener.keepalive.patience()));
        if (listener.handler.kind == conf::HandlerKind::proxy) {
            const conf::Upstream& upstream = config.upstreams[listener.handler.upstream];
            rules->dial = ticks_of(to_ns(upstream.dial_timeout));
            rules->server_gone = ticks_of(to_ns(upstream.keepalive.patience()));
        }
        rules->drain_begin_ns = born.drain_begin_ns;
        rules->drain_until_ns = born.drain_end_ns;
        rules->drain_spread = born.spread != 0;
        rules->output_high_bytes = listener.limits.output_high_bytes;
        rules->output_low_bytes = listener.limits.output_low_bytes;
        rules->connections = listener.limits.connections;
        rules->connections_per_ip = listener.limits.connections_per_ip;
        rules->accept_rate =
            RateLimit(listener.limits.accept_rate.count, to_ns(listener.limits.accept_rate.per));
        rules->backlog = listener.backlog;
        rules->allow = AddressSet(listener.allow);
        rules->deny = AddressSet(listener.deny);
        rules->handler = handlers_.back().get();
        rules->counters = &image_.memory.counters_of(rules->id);
        connections_.set_rules(rules.get());
        rules_.push_back(std::move(rules));
    }
}

void Service::make_listeners() {
    std::vector<int> own;
    for (const slot::ListenSocket& socket : image_.birth.sockets) {
        own.push_back(socket.fd);
        const ListenerPlace place{socket.fd,         socket.is_unix != 0, socket.is_shared != 0,
                                  image_.birth.slot, image_.birth.slots,  image_.birth.connection_room};
        listeners_.push_back(std::make_unique<Listener>(image_.loop, connections_, image_.counts,
                                                        *connections_.rules_of(socket.listener_id), place));
    }
    connections_.numbers().set_own(std::move(own));
}

void Service::adopt() {
    auto& control = image_.memory.worker_control();
    const bool first = control.seats_taken.load() <= 1;
    const uint64_t begun = monotonic_ns();
    const bool renewed = image_.holder.is_first && image_.birth.is_renewal;
    const slot::Cause cause = renewed ? image_.birth.cause : slot::Cause::crash;
    if (auto carved = image_.memory.carve(slot::kBoardFd, slot::kBuffersFd); !carved)
        log::error("{}", carved.error().text());
    Recovery(connections_, image_.counts, listeners_)
        .adopt(first, cause, image_.holder.predecessor_fault != 0);
    if (first) return;
    const uint64_t now = monotonic_ns();
    const std::string adopted =
        fmt::format("{} connections adopted in {} us", connections_.open_count(), (now - begun) / 1000);
    if (!renewed) return log::info("took the seat of pid {}: {}", image_.holder.predecessor_pid, adopted);
    const HandOverTimes& times = image_.hand_over;
    log::info(
        "image {} is in service ({}): {}; they waited {} us, {} of that for the table and {} for its standby",
        image_.birth.image, name_of(cause), adopted, (now - times.parked_ns) / 1000,
        (times.received_ns - times.parked_ns) / 1000, (times.committed_ns - times.received_ns) / 1000);
}

void Service::run() {
    log::set_buffer(&log_ring_);
    beat();
    adopt();
    connections_ready_.start(image_.poller_fd);
    control_.start(slot::kControlFd);
    heartbeat_.start_every(heartbeat_seconds());
    term_.start(SIGTERM);
    before_sleep_.start();
    close_left_sockets();
    start_listeners();
    (void)slot::send_message(slot::kControlFd,
                             {MessageType::serving, static_cast<uint32_t>(image_.holder.pid)});
    if (image_.memory.master_control().drain_begin_ns.load() != 0) begin_drain();
    tick_.start_every(kTickSeconds);
    ev_run(image_.loop, 0);
    abort();  // nothing ever breaks the loop
}

void Service::start_listeners() {
    const bool paused = image_.memory.master_control().accept_paused.load() != 0;
    for (const auto& listener : listeners_) paused ? listener->stop() : listener->start();
}

// Addresses that the configuration has no more.
void Service::close_left_sockets() {
    for (size_t i = 0; i < listeners_.size(); ++i) {
        if (image_.birth.sockets[i].closing != 0) listeners_[i]->begin_to_leave();
    }
    slice_.start();
}

void Service::beat() {
    image_.memory.worker_control().heartbeat_ns.store(connections_.now_ns(), std::memory_order_relaxed);
}

// Without a watchdog nobody looks, but status shows it.
double Service::heartbeat_seconds() const {
    const double watchdog = std::chrono::duration<double>(image_.config.supervisor.watchdog).count();
    return watchdog == 0 ? 5.0 : std::clamp(watchdog / 4, 0.05, 5.0);
}

void Service::on_heartbeat() {
    look_at_clock();
    beat();
    settle_steered();
}

// Some of what was steered here is still on its way, some never came: what is too much for a second or longer
// is taken for the latter. Too little is what came where nobody steers, and counts, after all.
void Service::settle_steered() {
    if (connections_.now_ns() - settled_ns_ < kSettleNs) return;
    settled_ns_ = connections_.now_ns();
    uint64_t open = 0;
    for (const auto& rules : rules_) open += rules->counters->open;
    std::atomic<uint32_t>& steered = image_.counts.steered(image_.birth.slot);
    const auto excess =
        static_cast<int32_t>(steered.load(std::memory_order_relaxed) - static_cast<uint32_t>(open));
    const int32_t wrong = excess < 0 ? excess : std::clamp(steered_excess_, 0, excess);
    steered.fetch_sub(static_cast<uint32_t>(wrong), std::memory_order_relaxed);
    steered_excess_ = excess - wrong;
}

// Stays in our own set while it has something to give, so that a batch costs one epoll_wait. Whether it pays
// to look once more shows in the last few looks: where they came back empty, most are left out. However much
// there is, what else the loop waits for has its turn.
void Service::on_connections_ready() {
    uint64_t until_ns = 0;
    forget_outdated_events();
    for (int round = 0; round < kMostRounds; ++round) {
        if (next_event_ == event_count_) {
            if (round > 0 && !stay_.is_worth_a_look()) break;
            const int count = connections_.poller().poll(events_.data(), static_cast<int>(events_.size()));
            if (round > 0) stay_.note(count > 0);
            event_count_ = static_cast<size_t>(count);
            next_event_ = 0;
            if (count == 0) break;
        }
        look_at_clock();
        beat();
        if (round == 0) until_ns = connections_.now_ns() + kTurnNs;
        if (!dispatch_events(until_ns)) break;
    }
    if (connections_.needs_new_poller()) replace_poller();
    FAULT_POINT(loop_idle);
}

// False: the time is over. What waits is not asked for anew: the kernel would give the same ones again, and
// never those behind them.
bool Service::dispatch_events(uint64_t until_ns) {
    constexpr size_t kEventsALook = 4;
    while (next_event_ < event_count_) {
        dispatch(events_[next_event_++]);
        if (next_event_ % kEventsALook == 0 && monotonic_ns() >= until_ns) return false;
    }
    return connections_.now_ns() < until_ns;
}

void Service::forget_outdated_events() {
    const auto waiting = std::span(events_).first(event_count_).subspan(next_event_);
    const auto outdated = [this](const epoll_event& event) { return !connections_.is_current(event); };
    const auto gone = std::remove_if(waiting.begin(), waiting.end(), outdated);
    event_count_ -= static_cast<size_t>(waiting.end() - gone);
}

void Service::replace_poller() {
    const int fresh = epoll_create1(EPOLL_CLOEXEC);
    if (fresh < 0) return;  // the next stale event tries again
    log::warn("the epoll set holds files that are not this slot's any more; it is made anew");
    dup3(fresh, image_.poller_fd, O_CLOEXEC);
    close(fresh);
    connections_.watch_all_anew();
    for (const auto& listener : listeners_) listener->restart();
    connections_ready_.start(image_.poller_fd);
}

void Service::dispatch(const epoll_event& event) {
    const PollTag tag = PollTag::unpack(event.data.u64);
    if (tag.generation != kListenerGeneration) [[likely]]
        return connections_.on_event(event);
    for (const auto& listener : listeners_) {
        if (listener->fd() == tag.fd) return listener->on_acceptable();
    }
}

void Service::before_sleep() {
    log_ring_.flush();
    if (const uint64_t dropped = log::dropped_lines(); dropped != told_dropped_lines_) [[unlikely]] {
        image_.memory.counters().dropped_log_lines += dropped - std::exchange(told_dropped_lines_, dropped);
    }
    if (draining_) end_if_done();
    if (connections_.has_deadlines() && !tick_.is_active()) tick_.start_every(kTickSeconds);
}

// Whatever is called first after a time in which this process did not run: what waits in the kernel is heard before
// any limit on silence is looked at.
void Service::look_at_clock() {
    const uint64_t now = monotonic_ns();
    if (now - connections_.now_ns() > kStoodStillNs) left_to_catch_up_ = connections_.open_count() + 1;
    connections_.set_now(now);
}

void Service::on_tick() {
    look_at_clock();
    if (!go_on()) slice_.start();
    connections_.retry_starved();
    sweep();
    if (!connections_.has_deadlines() && !draining_ && swept_to_ == ~uint32_t{0}) tick_.stop();
}

// Descriptors that no record accounts for were left by predecessors that died where the journal could not
// say.
void Service::sweep() {
    if (swept_to_ == ~uint32_t{0}) return;
    const uint32_t end = image_.memory.end_of_records(slot::kUnrecordedDescriptors);
    const uint32_t stop = std::min(end, swept_to_ + kSweepStep);
    for (; swept_to_ < stop; ++swept_to_) {
        const int fd = static_cast<int>(swept_to_);
        if (!connections_.numbers().may_be_connection(fd) || connections_.at(fd) || fcntl(fd, F_GETFD) < 0)
            continue;
        close(fd);
        ++image_.memory.counters().descriptors_swept;
    }
    if (swept_to_ >= end) swept_to_ = ~uint32_t{0};
}

void Service::on_term() {
    log_ring_.flush();
    leave_seat();
}

void Service::on_control() {
    for (int i = 0; i < kMostMessages; ++i) {
        auto received = slot::receive_message(slot::kControlFd);
        if (received) {
            on_message(*received);
            continue;
        }
        if (received.error().code == ErrorCode::timed_out) return;
        if (received.error().code == ErrorCode::unavailable) return on_master_gone();
        log::error("{}", received.error().text());
        return;
    }
}

void Service::on_message(slot::Received& received) {
    look_at_clock();
    if (received.is_cut) return on_cut(received.message);
    switch (received.message.type) {
        case MessageType::drain: return begin_drain();
        case MessageType::stop: return begin_end(CloseReason::stopped);
        case MessageType::pause_accept:
            for (const auto& listener : listeners_) listener->stop();
            return;
        case MessageType::resume_accept:
            for (const auto& listener : listeners_) listener->start();
            return;
        case MessageType::hand_over: return hand_over(received);
        case MessageType::replace_log: return replace_log(received);
        case MessageType::retire_if_empty:
            if (connections_.open_count() == 0) retire(0);
            return;
        default:
            log::error("the master sent a message of type {}", static_cast<uint32_t>(received.message.type));
    }
}

// The master hears of it at once, as of any that could not be followed.
void Service::on_cut(const slot::Message& message) {
    log::error("{}", slot::cut_error().text());
    slot::Message answer{MessageType::log_replaced, EMFILE};
    if (message.type == MessageType::hand_over) {
        uint64_t word = slot::ServiceWord{image_.birth.image, message.a}.pack();
        if (!image_.memory.master_control().word.compare_exchange_strong(
                word, slot::ServiceWord{image_.birth.image, 0}.pack()))
            return;
        answer = {MessageType::unparked, static_cast<uint32_t>(image_.holder.pid),
                  static_cast<uint32_t>(slot::HandOverEnd::descriptors), message.a};
    }
    (void)slot::send_message(slot::kControlFd, answer);
}

// An order that a predecessor was to carry out, or that was withdrawn since, is stale.
void Service::hand_over(slot::Received& received) {
    const uint32_t attempt = received.message.a;
    const uint64_t word = image_.memory.master_control().word.load();
    if (word != slot::ServiceWord{image_.birth.image, attempt}.pack()) return;
    park();
    const auto end = TableSender(image_, attempt, std::move(received.descriptor)).run();
    if (!end) _exit(slot::kExitRetired);
    unpark(attempt, *end);
}

// Nothing of the slot is touched any more: it may belong to another process the next moment.
void Service::park() {
    log_ring_.flush();
    log::set_buffer(nullptr);
    for (const auto& listener : listeners_) listener->stop();
    connections_.journal().publish_idle();
}

void Service::unpark(uint32_t attempt, slot::HandOverEnd end) {
    log::set_buffer(&log_ring_);
    if (!draining_) start_listeners();
    connections_.set_now(monotonic_ns());
    beat();
    log::warn("image {} did not take over: {}; this one serves on", attempt, name_of(end));
    (void)slot::send_message(slot::kControlFd,
                             {MessageType::unparked, static_cast<uint32_t>(image_.holder.pid),
                              static_cast<uint32_t>(end), attempt});
}

void Service::replace_log(const slot::Received& received) {
    log_ring_.flush();
    const bool done = dup3(received.descriptor.get(), slot::kLogFd, O_CLOEXEC) >= 0;
    (void)slot::send_message(slot::kControlFd,
                             {MessageType::log_replaced, done ? 0u : static_cast<uint32_t>(errno)});
}

void serve(Image& image) {
    ev_loop_fork(image.loop);
    Service(image).run();
}

}  // namespace tcpd::worker
