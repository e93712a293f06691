#include "master/crew/held_slot.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "master/reexec/state.h"

namespace tcpd::master {

namespace {

constexpr size_t kUnseatedKept = 16;
constexpr uint64_t kExitLimitNs = 3'000'000'000;

}  // namespace

HeldSlot::HeldSlot(slot::SlotFds fds, slot::SlotMemory memory)
    : fds_(std::move(fds)), memory_(std::move(memory)) {}

Result<std::unique_ptr<HeldSlot>> HeldSlot::make(struct ev_loop* loop, const slot::SlotSizes& sizes,
                                                 uint32_t image, ChannelMessages& owner) {
    auto fds = slot::SlotMemory::create(sizes);
    if (!fds) return std::move(fds.error());
    auto memory = slot::SlotMemory::map_board(fds->board.get());
    if (!memory) return std::move(memory.error());
    auto channel = Channel::open(loop, sizes.slot_number, image, owner);
    if (!channel) return std::move(channel.error());
    std::unique_ptr<HeldSlot> held(new HeldSlot(std::move(*fds), std::move(*memory)));
    held->channel_ = std::move(*channel);
    held->control().word.store(slot::ServiceWord{image, 0}.pack(), std::memory_order_release);
    return held;
}

void HeldSlot::save(SavedSlot& saved) const {
    saved.is_held = true;
    saved.board_fd = board_fd();
    saved.buffers_fd = buffers_fd();
    saved.made_ns = made_ns_;
    saved.channel = channel_->save();
    for (const auto& channel : former_) saved.former.push_back(channel->save());
    saved.log_pending = log_pending_ >= 0;
    saved.reaped_unseated.assign(reaped_unseated_.begin(), reaped_unseated_.end());
}

Result<std::unique_ptr<HeldSlot>> HeldSlot::take_over(struct ev_loop* loop, uint32_t number,
                                                      const SavedSlot& saved, int log_fd,
                                                      ChannelMessages& owner) {
    auto memory = slot::SlotMemory::map_board(saved.board_fd);
    if (!memory) return std::move(memory.error());
    std::unique_ptr<HeldSlot> held(
        new HeldSlot({UniqueFd(saved.board_fd), UniqueFd(saved.buffers_fd)}, std::move(*memory)));
    held->made_ns_ = saved.made_ns;
    held->channel_ = Channel::take_over(loop, number, saved.channel, owner);
    for (const SavedChannel& channel : saved.former) {
        held->former_.push_back(Channel::take_over(loop, number, channel, owner));
    }
    if (saved.log_pending) held->log_pending_ = log_fd;
    held->reaped_unseated_.assign(saved.reaped_unseated.begin(), saved.reaped_unseated.end());
    return held;
}

Demands HeldSlot::room() const {
    struct stat about {};
    if (::fstat(buffers_fd(), &about) != 0) return {};
    return {.records = memory_.record_count(),
            .board_bytes = memory_.board_bytes(),
            .buffers_bytes = static_cast<uint64_t>(about.st_size)};
}

void HeldSlot::set_listener_name(uint32_t id, const std::string& name) {
    if (id >= slot::kMaxListeners) return;
    char* at = memory_.listener_name(id).text;
    const size_t length = name.copy(at, slot::kMaxNameBytes);
    std::fill(at + length, at + slot::kMaxNameBytes + 1, '\0');
}

void HeldSlot::read_messages() {
    channel_->read_messages();
    if (attempt_) attempt_->read_messages();
    for (auto& channel : former_) channel->read_messages();
}

// What it is told lies in slot memory as well; a slot whose socket is full is told by that, or killed in the
// end.
void HeldSlot::drain(const DrainOrder& order) {
    const uint32_t manner =
        (order.spread ? slot::kDrainSpreads : 0) | (order.leaves_queues ? slot::kDrainLeavesQueues : 0);
    control().drain_manner.store(manner, std::memory_order_relaxed);
    control().drain_end_ns.store(order.end_ns, std::memory_order_relaxed);
    control().drain_begin_ns.store(order.begin_ns, std::memory_order_release);
    channel_->send({slot::MessageType::drain});
}

void HeldSlot::stop() {
    control().word.store(0, std::memory_order_release);
    channel_->send({slot::MessageType::stop});
}

void HeldSlot::pause_accept(bool pause) {
    control().accept_paused.store(pause ? 1 : 0, std::memory_order_release);
    channel_->send({pause ? slot::MessageType::pause_accept : slot::MessageType::resume_accept});
}

void HeldSlot::retire_if_empty() {
    control().word.store(0, std::memory_order_release);
    channel_->send({slot::MessageType::retire_if_empty});
}

void HeldSlot::replace_log(int fd) {
    log_pending_ = fd;
    channel_->send({slot::MessageType::replace_log}, fd);
}

void HeldSlot::repeat_replace_log() {
    if (log_pending_ >= 0) channel_->send({slot::MessageType::replace_log}, log_pending_);
}

// -- renewal

Result<Channel*> HeldSlot::open_attempt(struct ev_loop* loop, uint32_t image, ChannelMessages& owner) {
    auto channel = Channel::open(loop, channel_->slot(), image, owner);
    if (!channel) return std::move(channel.error());
    attempt_ = std::move(*channel);
    return attempt_.get();
}

Result<void> HeldSlot::begin_hand_over() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return system_error(errno, "make the socket of a hand-over");
    }
    const UniqueFd from(ends[0]), to(ends[1]);
    const uint32_t image = attempt_->image();
    uint64_t expected = slot::ServiceWord{channel_->image(), 0}.pack();
    control().other_tables.fetch_add(1);
    attempt_->holds_copies = true;
    if (!control().word.compare_exchange_strong(expected,
                                                slot::ServiceWord{channel_->image(), image}.pack())) {
        return Error{ErrorCode::refused, "begin a hand-over", "", 0, "the slot is not in service any more"};
    }
    attempt_->send({slot::MessageType::receive_table, image}, to.get());
    channel_->send({slot::MessageType::hand_over, image}, from.get());
    return {};
}

bool HeldSlot::withdraw_attempt() {
    if (!attempt_) return false;
    uint64_t seen = slot::ServiceWord{channel_->image(), attempt_->image()}.pack();
    control().word.compare_exchange_strong(seen, slot::ServiceWord{channel_->image(), 0}.pack());
    if (word().in_service == attempt_->image()) return false;
    keep_former(std::move(attempt_));
    return true;
}

bool HeldSlot::note_commit() {
    if (!attempt_ || word().in_service != attempt_->image()) return false;
    std::swap(channel_, attempt_);
    std::swap(channel_->holds_copies, attempt_->holds_copies);
    keep_former(std::move(attempt_));
    return true;
}

void HeldSlot::keep_former(std::unique_ptr<Channel> channel) {
    channel->former_since_ns = monotonic_ns();
    former_.push_back(std::move(channel));
}

std::vector<uint32_t> HeldSlot::lingering_images(uint64_t now) const {
    std::vector<uint32_t> images;
    for (const auto& channel : former_) {
        if (now - channel->former_since_ns > kExitLimitNs) images.push_back(channel->image());
    }
    return images;
}

bool HeldSlot::has_ended() const {
    return channel_->is_ended() || (attempt_ && attempt_->is_ended()) ||
           std::any_of(former_.begin(), former_.end(),
                       [](const auto& channel) { return channel->is_ended(); });
}

void HeldSlot::forget_ended() {
    std::erase_if(former_, [this](const std::unique_ptr<Channel>& channel) {
        if (!channel->is_ended()) return false;
        if (channel->holds_copies) control().other_tables.fetch_sub(1);
        return true;
    });
}

// -- what slot memory knows of deaths and births

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
    return attempt_clone() == pid && pid != 0;
}

pid_t HeldSlot::attempt_clone() {
    return static_cast<pid_t>(__atomic_load_n(&memory_.worker_control().attempt_clone_tid, __ATOMIC_RELAXED));
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
