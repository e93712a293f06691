#include "master/held_slot.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/base/log.h"

namespace tcpd::master {

namespace {

constexpr int kMessagesAtOnce = 256;
constexpr size_t kUnseatedKept = 16;

}  // namespace

HeldSlot::HeldSlot(struct ev_loop* loop, UniqueFd memory_fd, slot::SlotMemory memory, SlotMessages& owner)
    : memory_fd_(std::move(memory_fd)),
      memory_(std::move(memory)),
      number_(memory_.header().slot_number),
      owner_(owner),
      readable_(loop, this) {}

Result<std::unique_ptr<HeldSlot>> HeldSlot::make(struct ev_loop* loop, const slot::SlotSizes& sizes,
                                                 uint32_t image, const std::vector<std::string>& names,
                                                 SlotMessages& owner) {
    auto fd = slot::SlotMemory::create(sizes);
    if (!fd) return std::move(fd.error());
    auto memory = slot::SlotMemory::map(fd->get(), slot::SlotMemory::Access::master);
    if (!memory) return std::move(memory.error());
    std::unique_ptr<HeldSlot> held(new HeldSlot(loop, std::move(*fd), std::move(*memory), owner));
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return system_error(errno, "make the control socket of slot", std::to_string(sizes.slot_number));
    }
    held->control_.reset(ends[0]);
    held->slot_end_.reset(ends[1]);
    slot::MasterControl& control = held->control();
    for (size_t id = 0; id < std::min<size_t>(names.size(), slot::kMaxListeners); ++id) {
        names[id].copy(control.listener_names[id], slot::kMaxNameBytes);
    }
    control.word.store(slot::ServiceWord{image, 0}.pack(), std::memory_order_release);
    held->readable_.start(ends[0]);
    return held;
}

void HeldSlot::read_messages() {
    for (int i = 0; i < kMessagesAtOnce && !table_gone_; ++i) {
        auto received = slot::receive_message(control_.get());
        if (received) {
            owner_.on_message(number_, received->message);
        } else if (received.error().code == ErrorCode::bad_format) {
            log::limited(log::Level::error, "slot message", "slot {}: {}", number_, received.error().text());
        } else if (received.error().code == ErrorCode::timed_out) {
            return;
        } else {
            table_gone_ = true;
            readable_.stop();
        }
    }
}

// What it is told lies in slot memory as well; a slot whose socket is full is told by that, or killed in the
// end.
void HeldSlot::send(slot::MessageType type, int descriptor) {
    if (table_gone_) return;
    auto sent = slot::send_message(control_.get(), {type}, descriptor);
    if (sent || sent.error().code == ErrorCode::unavailable) return;
    log::limited(log::Level::warn, "slot send", "slot {}: {}", number_, sent.error().text());
}

void HeldSlot::drain(const DrainOrder& order) {
    control().drain_spread.store(order.spread ? 1 : 0, std::memory_order_relaxed);
    control().drain_end_ns.store(order.end_ns, std::memory_order_relaxed);
    control().drain_begin_ns.store(order.begin_ns, std::memory_order_release);
    send(slot::MessageType::drain);
}

void HeldSlot::stop() {
    control().word.store(0, std::memory_order_release);
    send(slot::MessageType::stop);
}

void HeldSlot::pause_accept(bool pause) {
    control().accept_paused.store(pause ? 1 : 0, std::memory_order_release);
    send(pause ? slot::MessageType::pause_accept : slot::MessageType::resume_accept);
}

void HeldSlot::retire_if_empty() {
    control().word.store(0, std::memory_order_release);
    send(slot::MessageType::retire_if_empty);
}

void HeldSlot::replace_log(int fd) {
    log_pending_ = fd;
    send(slot::MessageType::replace_log, fd);
}

void HeldSlot::repeat_replace_log() {
    if (log_pending_ >= 0) send(slot::MessageType::replace_log, log_pending_);
}

void HeldSlot::tell_death(pid_t holder) {
    control().dead_pid.store(static_cast<uint32_t>(holder), std::memory_order_release);
}

void HeldSlot::on_reaped(pid_t pid, bool held_seat) {
    if (held_seat) {
        control().reaped_seats.fetch_add(1, std::memory_order_release);
        return;
    }
    if (reaped_unseated_.size() == kUnseatedKept) reaped_unseated_.erase(reaped_unseated_.begin());
    reaped_unseated_.push_back(pid);
}

void HeldSlot::on_predecessor(pid_t pid) {
    if (std::erase(reaped_unseated_, pid) == 0) return;
    control().reaped_seats.fetch_add(1, std::memory_order_release);
}

bool HeldSlot::names_clone(pid_t pid) {
    for (const uint32_t& tid : memory_.worker_control().clone_tids) {
        if (__atomic_load_n(&tid, __ATOMIC_RELAXED) == static_cast<uint32_t>(pid)) return true;
    }
    return false;
}

pid_t HeldSlot::newest_clone() {
    slot::WorkerControl& worker = memory_.worker_control();
    const uint32_t next = worker.clones.load(std::memory_order_relaxed);
    for (uint32_t back = 1; back <= slot::kRecentClones; ++back) {
        const uint32_t& tid = worker.clone_tids[(next - back) % slot::kRecentClones];
        const auto pid = static_cast<pid_t>(__atomic_load_n(&tid, __ATOMIC_RELAXED));
        if (Children::is_child(pid)) return pid;
    }
    return 0;
}

}  // namespace tcpd::master
