#include "worker/life.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/clock.h"
#include "daemon/base/fault_point.h"
#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "worker/back_off.h"
#include "worker/fault_handler.h"
#include "worker/renewal/table_receiver.h"
#include "worker/service.h"
#include "worker/settle.h"
#include "worker/standby.h"

namespace tcpd::worker {

namespace {

using slot::MessageType;
using slot::ServiceWord;

[[noreturn]] void retire() { ::_exit(slot::kExitRetired); }

void wait_for_seat(Image& image) {
    image.seat.wait({image.holder.predecessor_pid, &image.memory.master_control().dead_pid});
    image.holder.seat_taken_ns = monotonic_ns();
    image.holder.pid = ::getpid();
    set_loop_thread(image.holder.pid);
}

bool try_replace(Image& image, ServiceWord from, ServiceWord to) {
    uint64_t expected = from.pack();
    return image.memory.master_control().word.compare_exchange_strong(expected, to.pack());
}

// Returns if this image is to serve; asks again when somebody else has changed the word meanwhile.
Verdict settle(Image& image) {
    for (;;) {
        const auto word = ServiceWord::unpack(image.memory.master_control().word.load());
        const Verdict verdict = settle_by(word, image.birth.image, image.holder.is_first);
        switch (verdict) {
            case Verdict::serve:
            case Verdict::commit_after_clone: return verdict;
            case Verdict::retire: retire();
            case Verdict::withdraw_and_serve:
            case Verdict::withdraw_and_retire: try_replace(image, word, {word.in_service, 0});
        }
    }
}

// Counted before the predecessor's time is overwritten: a death between the two counts a short life twice at
// most.
void publish_short_lives(Image& image) {
    auto& control = image.memory.worker_control();
    BackOff back_off;
    if (!image.holder.is_first)
        back_off = back_off_after(
            image.holder.seat_taken_ns - control.seat_taken_ns.load(), control.short_lives.load(),
            {image.config.supervisor.respawn_initial, image.config.supervisor.respawn_max});
    control.short_lives.store(back_off.short_lives);
    image.holder.wait = back_off.wait;
}

// The first connections come behind the listening sockets, however many those are: whoever looks for descriptors without
// a record looks there, too.
void expect_connections(Image& image) {
    auto& high = image.memory.worker_control().high_fd;
    const auto first = static_cast<uint32_t>(image.first_connection_fd);
    if (high.load(std::memory_order_relaxed) < first) high.store(first, std::memory_order_release);
}

// Only once the image is in service: until then all this is another holder's.
void publish_holder(Image& image) {
    auto& control = image.memory.worker_control();
    publish_short_lives(image);
    control.heartbeat_ns.store(image.holder.seat_taken_ns);
    control.seat_taken_ns.store(image.holder.seat_taken_ns);
    control.seats_taken.fetch_add(1);
    expect_connections(image);
    image.holder.predecessor_fault = static_cast<int>(control.fault_signal.exchange(0));
    count_own_clone(control);
}

// From here on the connections are this image's; the old worker hears of it by the socket's end. Without a
// standby it would be worse off than what it replaces.
void commit(Image& image) {
    if (image.holder.standby_pid == 0) refuse_table(image, slot::HandOverEnd::no_standby);
    FAULT_POINT(renewal_received_not_committed);
    const auto word = ServiceWord::unpack(image.memory.master_control().word.load());
    if (word.attempt != image.birth.image || !try_replace(image, word, {word.attempt, 0})) retire();
    image.hand_over.committed_ns = monotonic_ns();
    leave_hand_over();
    publish_holder(image);
    note_attempt_clone(image.memory.worker_control());
    FAULT_POINT(renewal_committed_not_adopted);
}

void become_standby(Image& image) {
    set_loop_thread(0);
    image.holder = Holder{.is_first = false, .predecessor_pid = image.holder.pid};
}

// True in the clone, which then waits for the seat: it makes no other call, its title is from before this
// seat.
bool clone_is_next(Image& image, Verdict verdict) {
    const pid_t pid = clone_standby(image.memory.worker_control(), verdict != Verdict::commit_after_clone);
    if (pid == 0) {
        become_standby(image);
        return true;
    }
    image.holder.standby_pid = pid > 0 ? pid : 0;
    image.holder.clone_errno = pid > 0 ? 0 : errno;
    return false;
}

void tell_master(const Image& image, MessageType type, uint32_t b, uint32_t c = 0) {
    const auto sent =
        slot::send_message(slot::kControlFd, {type, static_cast<uint32_t>(image.holder.pid), b, c});
    if (!sent && sent.error().code != ErrorCode::unavailable) log::warn("{}", sent.error().text());
}

void announce(const Image& image) {
    set_process_title(fmt::format("tcpd: worker {}", image.birth.slot));
    log::set_who(fmt::format("worker {}", image.birth.slot));
    tell_master(image, MessageType::seated, static_cast<uint32_t>(image.holder.standby_pid),
                static_cast<uint32_t>(image.holder.predecessor_pid));
    if (image.holder.standby_pid == 0)
        tell_master(image, MessageType::clone_failed, static_cast<uint32_t>(image.holder.clone_errno));
}

void back_off(Image& image) {
    const Duration wait = image.holder.wait;
    if (wait == Duration(0)) return;
    auto& control = image.memory.worker_control();
    tell_master(image, MessageType::backing_off, static_cast<uint32_t>(wait.count()));
    if (wait_out(wait, slot::kControlFd) == WaitEnd::term) leave_seat();
    control.heartbeat_ns.store(monotonic_ns());
}

}  // namespace

void refuse_table(Image& image, slot::HandOverEnd reason) {
    const auto word = ServiceWord::unpack(image.memory.master_control().word.load());
    if (word.attempt == image.birth.image) try_replace(image, word, {word.in_service, 0});
    log::error("image {} does not take over: {}", image.birth.image, name_of(reason));
    (void)slot::send_message(slot::kControlFd,
                             {MessageType::refused_table, static_cast<uint32_t>(::getpid()),
                              static_cast<uint32_t>(reason), image.hand_over.descriptors_needed});
    retire();
}

void live(Image& image) {
    for (;;) {
        wait_for_seat(image);
        FAULT_POINT(seat_taken_not_settled);
        const Verdict verdict = settle(image);
        if (verdict == Verdict::serve) publish_holder(image);
        FAULT_POINT(settle_done_not_cloned);
        if (clone_is_next(image, verdict)) continue;
        FAULT_POINT(seat_cloned_not_told);
        if (verdict == Verdict::commit_after_clone) commit(image);
        announce(image);
        back_off(image);
        serve(image);
    }
}

// Lines not yet written are in slot memory: the successor writes them.
void leave_seat() { ::_exit(slot::kExitLeftSeat); }

}  // namespace tcpd::worker
