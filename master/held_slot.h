#pragma once

// A slot as the master holds it: its memory, mapped read-only but for the control words, and its control
// socket. Master only; owns both. Lives as long as the slot's descriptor table, over all holders of its seat,
// and is replaced by a new one when that is gone. If the master dies, the slot finds end of file on its
// control socket. Order of stores: MasterControl's fields first, then the message that tells of them. Source:
// daemon/slot/layout.h, daemon/slot/control_message.h.

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/watcher.h"
#include "daemon/slot/control_message.h"
#include "daemon/slot/slot_memory.h"
#include "master/children.h"

namespace tcpd::master {

class SlotMessages {
public:
    virtual ~SlotMessages() = default;
    virtual void on_message(uint32_t slot, const slot::Message& message) = 0;
};

struct DrainOrder {
    uint64_t begin_ns = 0;
    uint64_t end_ns = 0;  // 0: no limit
    bool spread = true;
};

class HeldSlot {
public:
    // New memory, in which image `image` is in service, and a new control socket, whose other end is
    // slot_end(). `names`: of listeners, by stable id.
    static Result<std::unique_ptr<HeldSlot>> make(struct ev_loop* loop, const slot::SlotSizes& sizes,
                                                  uint32_t image, const std::vector<std::string>& names,
                                                  SlotMessages& owner);

    int memory_fd() const { return memory_fd_.get(); }
    int control_fd() const { return control_.get(); }
    int slot_end() const { return slot_end_.get(); }
    void close_slot_end() { slot_end_.reset(); }  // once the image has it
    slot::SlotMemory& memory() { return memory_; }
    uint64_t made_ns() const { return made_ns_; }

    // Hands on what waits in the socket, a bounded number of messages.
    void read_messages();
    bool is_table_gone() const { return table_gone_; }

    void drain(const DrainOrder& order);
    void stop();
    void pause_accept(bool pause);
    void retire_if_empty();
    void replace_log(int fd);
    void on_log_replaced() { log_pending_ = -1; }
    void repeat_replace_log();      // a worker may have died between reading the message and obeying it
    void tell_death(pid_t holder);  // for the second way

    // Holders that are reaped hold nothing any more; a successor may come to tell only later that the dead
    // was one.
    void on_reaped(pid_t pid, bool held_seat);
    void on_predecessor(pid_t pid);

    bool names_clone(pid_t pid);
    // The newest clone that is alive, or was not reaped yet; 0: none.
    pid_t newest_clone();

private:
    HeldSlot(struct ev_loop* loop, UniqueFd memory_fd, slot::SlotMemory memory, SlotMessages& owner);
    slot::MasterControl& control() { return memory_.master_control(); }
    void send(slot::MessageType type, int descriptor = -1);

    UniqueFd memory_fd_, control_, slot_end_;
    slot::SlotMemory memory_;
    uint32_t number_;
    SlotMessages& owner_;
    uint64_t made_ns_ = monotonic_ns();
    bool table_gone_ = false;
    int log_pending_ = -1;                // borrowed; -1: none
    std::vector<pid_t> reaped_unseated_;  // the last few that may turn out to have held the seat
    IoWatcher<HeldSlot, &HeldSlot::read_messages> readable_;
};

}  // namespace tcpd::master
