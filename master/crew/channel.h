#pragma once

// The master's end of the control socket of one image of one slot. Master only; owns the descriptor. End of
// file means that the image's descriptor table is gone, with all processes that shared it. If the master
// dies, the image reads end of file. Source: daemon/slot/control_message.h.

#include <sys/types.h>

#include <cstdint>
#include <memory>

#include "daemon/base/watcher.h"
#include "daemon/slot/control_message.h"

namespace tcpd::master {

class Channel;
struct SavedChannel;

class ChannelMessages {
public:
    virtual ~ChannelMessages() = default;
    virtual void on_message(Channel& channel, const slot::Message& message) = 0;
};

class Channel {
public:
    static Result<std::unique_ptr<Channel>> open(struct ev_loop* loop, uint32_t slot, uint32_t image,
                                                 ChannelMessages& owner);
    // Over an exec of this process.
    SavedChannel save() const;
    static std::unique_ptr<Channel> take_over(struct ev_loop* loop, uint32_t slot, const SavedChannel& saved,
                                              ChannelMessages& owner);
    uint32_t slot() const { return slot_; }
    uint32_t image() const { return image_; }
    int fd() const { return control_.get(); }
    int slot_end() const { return slot_end_.get(); }
    void close_slot_end() { slot_end_.reset(); }  // once the image has it

    void send(const slot::Message& message, int descriptor = -1);
    // Hands on what waits in the socket, a bounded number of messages.
    void read_messages();
    bool is_ended() const { return ended_; }

    pid_t image_pid = 0;           // of the first process
    uint64_t former_since_ns = 0;  // out of service for good
    bool holds_copies = false;     // counted in MasterControl::other_tables

private:
    Channel(struct ev_loop* loop, uint32_t slot, uint32_t image, ChannelMessages& owner);
    UniqueFd control_, slot_end_;
    uint32_t slot_, image_;
    ChannelMessages& owner_;
    bool ended_ = false;
    IoWatcher<Channel, &Channel::read_messages> readable_;
};

}  // namespace tcpd::master
