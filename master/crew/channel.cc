#include "master/crew/channel.h"

#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "daemon/base/log.h"
#include "master/reexec/state.h"

namespace tcpd::master {

namespace {
constexpr int kMessagesAtOnce = 256;
}

Channel::Channel(struct ev_loop* loop, uint32_t slot, uint32_t image, ChannelMessages& owner)
    : slot_(slot), image_(image), owner_(owner), readable_(loop, this) {}

Result<std::unique_ptr<Channel>> Channel::open(struct ev_loop* loop, uint32_t slot, uint32_t image,
                                               ChannelMessages& owner) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return system_error(errno, "make the control socket of slot", std::to_string(slot));
    }
    std::unique_ptr<Channel> channel(new Channel(loop, slot, image, owner));
    channel->control_.reset(ends[0]);
    channel->slot_end_.reset(ends[1]);
    channel->readable_.start(ends[0]);
    return channel;
}

SavedChannel Channel::save() const {
    return {control_.get(), image_, image_pid, holds_copies, former_since_ns};
}

std::unique_ptr<Channel> Channel::take_over(struct ev_loop* loop, uint32_t slot, const SavedChannel& saved,
                                            ChannelMessages& owner) {
    std::unique_ptr<Channel> channel(new Channel(loop, slot, saved.image, owner));
    channel->control_.reset(saved.fd);
    channel->image_pid = saved.image_pid;
    channel->holds_copies = saved.holds_copies;
    channel->former_since_ns = saved.former_since_ns;
    channel->readable_.start(saved.fd);
    return channel;
}

void Channel::send(const slot::Message& message, int descriptor) {
    auto sent = slot::send_message(control_.get(), message, descriptor);
    if (sent || sent.error().code == ErrorCode::unavailable) return;
    log::limited(log::Level::warn, "slot send", "slot {}: {}", slot_, sent.error().text());
}

void Channel::read_messages() {
    for (int i = 0; i < kMessagesAtOnce && !ended_; ++i) {
        auto received = slot::receive_message(control_.get());
        if (received) {
            owner_.on_message(*this, received->message);
        } else if (received.error().code == ErrorCode::bad_format) {
            log::limited(log::Level::error, "slot message", "slot {}: {}", slot_, received.error().text());
        } else if (received.error().code == ErrorCode::timed_out) {
            return;
        } else {
            ended_ = true;
            readable_.stop();
        }
    }
}

}  // namespace tcpd::master
