#pragma once

// A slot as the master holds it: its memory, mapped read-only but for the control words, and a channel to
// each image that may still hold its connections: the one in service, the one of an attempt, those that went
// out of service. Master only; owns all of them. Lives as long as the descriptor table in service, over all
// holders of its seats and all renewals, and is replaced by a new one when that is gone. If the master dies,
// each image finds end of file on its channel. Order of stores: MasterControl's fields first, then the
// message that tells of them. Source: daemon/slot/layout.h, daemon/slot/control_message.h.

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/slot/slot_memory.h"
#include "master/crew/channel.h"
#include "master/crew/children.h"
#include "master/drain_order.h"
#include "master/reexec/demands.h"

namespace tcpd::master {

struct SavedSlot;

class HeldSlot {
public:
    // New memory, in which image `image` is in service, and its channel.
    static Result<std::unique_ptr<HeldSlot>> make(struct ev_loop* loop, const slot::SlotSizes& sizes,
                                                  uint32_t image, ChannelMessages& owner);

    // Over an exec of this process; no attempt is in course then.
    void save(SavedSlot& saved) const;
    static Result<std::unique_ptr<HeldSlot>> take_over(struct ev_loop* loop, uint32_t number,
                                                       const SavedSlot& saved, int log_fd,
                                                       ChannelMessages& owner);

    int board_fd() const { return fds_.board.get(); }
    int buffers_fd() const { return fds_.buffers.get(); }
    slot::SlotMemory& memory() { return memory_; }
    uint64_t made_ns() const { return made_ns_; }
    Channel& channel() { return *channel_; }  // of the image in service
    Channel* attempt() { return attempt_.get(); }
    // The least level of all programs that may come to serve it.
    void set_level(uint32_t level) { control().level.store(level, std::memory_order_release); }
    // What there is for parts.
    Demands room() const;
    // Before the image that uses it is born.
    void set_listener_name(uint32_t id, const std::string& name);

    // Hands on what waits in all channels.
    void read_messages();
    bool is_table_gone() const { return channel_->is_ended(); }

    void drain(const DrainOrder& order);
    void stop();
    void pause_accept(bool pause);
    void retire_if_empty();
    void replace_log(int fd);
    void on_log_replaced() { log_pending_ = -1; }
    bool is_log_pending() const { return log_pending_ >= 0; }
    void repeat_replace_log();      // a worker may have died between reading the message and obeying it
    void tell_death(pid_t holder);  // for the second way

    // -- renewal
    Result<Channel*> open_attempt(struct ev_loop* loop, uint32_t image, ChannelMessages& owner);
    // The service word names the attempt from now on; both sides are told, each gets its end of a new socket
    // pair. An Error: the word says something else, or the machine has no descriptor.
    Result<void> begin_hand_over();
    // True: the attempt is not in service and never will be; its channel is kept until its end of file.
    bool withdraw_attempt();
    // True: the attempt has committed since the last look; its channel is now that of the image in service.
    bool note_commit();
    bool has_ended() const;  // any of the tables
    // Images that have been out of service for longer than an exit takes.
    std::vector<uint32_t> lingering_images(uint64_t now) const;
    // Lets go of the channels of former tables that are gone.
    void forget_ended();

    // Holders that are reaped hold nothing any more; a successor may come to tell only later that the dead
    // was one.
    void on_reaped(pid_t pid, bool held_seat);
    void on_predecessor(pid_t pid);

    bool names_clone(pid_t pid);
    pid_t attempt_clone();  // 0: none is known
    // The newest clone that is alive, or was not reaped yet; 0: none.
    pid_t newest_clone();

private:
    HeldSlot(slot::SlotFds fds, slot::SlotMemory memory);
    void keep_former(std::unique_ptr<Channel> channel);
    slot::MasterControl& control() { return memory_.master_control(); }
    slot::ServiceWord word() { return slot::ServiceWord::unpack(control().word.load()); }

    slot::SlotFds fds_;
    slot::SlotMemory memory_;
    uint64_t made_ns_ = monotonic_ns();
    std::unique_ptr<Channel> channel_, attempt_;
    std::vector<std::unique_ptr<Channel>> former_;
    int log_pending_ = -1;                // borrowed; -1: none
    std::vector<pid_t> reaped_unseated_;  // the last few that may turn out to have held the seat
};

}  // namespace tcpd::master
