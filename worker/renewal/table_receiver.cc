#include "worker/renewal/table_receiver.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <cstring>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"

namespace tcpd::worker {

namespace {

using slot::HandOverEnd;

constexpr uint64_t kLimitNs = 3'000'000'000;
constexpr size_t kMostHeadBytes = 256;  // a later version's may be longer than TableHead
constexpr size_t kSpare = 8;            // for what comes with a message, and a socket that makes way

// How many came; -1: more than one lot, which nobody sends.
ssize_t take_descriptors(msghdr& header, int32_t* landed, size_t room) {
    const cmsghdr* head = CMSG_FIRSTHDR(&header);
    if (head == nullptr) return 0;
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) return -1;
    const size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int32_t);
    if (count > room) return -1;
    std::memcpy(landed, CMSG_DATA(head), count * sizeof(int32_t));
    return static_cast<ssize_t>(count);
}

}  // namespace

void leave_hand_over() { ::dup3(0, kHandOverFd, O_CLOEXEC); }

std::optional<HandOverEnd> TableReceiver::receive() {
    if (const End end = await_order()) return end;
    const slot::ServiceWord word = slot::ServiceWord::unpack(image_.memory.master_control().word.load());
    if (word.attempt != image_.birth.image) return HandOverEnd::withdrawn;
    const HandOverWatch watch(image_.memory, word, kLimitNs);
    const End end = receive_all(watch);
    if (!end) unplug();
    return end;
}

// Whatever else the master has to say is for the image in service, or said again once this one is.
TableReceiver::End TableReceiver::await_order() {
    for (;;) {
        pollfd control{slot::kControlFd, POLLIN, 0};
        ::poll(&control, 1, -1);
        auto received = slot::receive_message(slot::kControlFd);
        if (!received && received.error().code == ErrorCode::unavailable) ::_exit(slot::kExitRetired);
        if (!received || received->message.type != slot::MessageType::receive_table) continue;
        if (received->message.a != image_.birth.image) continue;
        if (received->is_cut) {
            log::error("hand-over: {}", slot::cut_error().text());
            return HandOverEnd::descriptors;
        }
        ::dup3(received->descriptor.get(), kHandOverFd, O_CLOEXEC);
        return std::nullopt;
    }
}

TableReceiver::End TableReceiver::receive_message(const HandOverWatch& watch, Room room_for, int32_t* landed,
                                                  size_t count) {
    iovec part{room_for.bytes, room_for.most};
    DescriptorRoom room;
    for (;;) {
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = room.bytes.data();
        header.msg_controllen = sizeof room.bytes;
        const ssize_t got = ::recvmsg(kHandOverFd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got == 0) return HandOverEnd::peer_gone;
        if (got > 0) {
            const bool cut = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
            const ssize_t came = take_descriptors(header, landed, kMostAtOnce);
            if ((header.msg_flags & MSG_CTRUNC) != 0) {
                log::error("hand-over: {}", slot::cut_error().text());
                return HandOverEnd::descriptors;
            }
            const bool whole =
                !cut && static_cast<size_t>(got) >= room_for.least && came == static_cast<ssize_t>(count);
            return whole ? End() : HandOverEnd::bad_table;
        }
        if (errno != EAGAIN && errno != EINTR) return HandOverEnd::peer_gone;
        if (const End over = watch.end()) return over;
        watch.wait(kHandOverFd, POLLIN);
    }
}

TableReceiver::End TableReceiver::receive_all(const HandOverWatch& watch) {
    if (const End end = receive_head(watch)) return end;
    if (const End end = check_level()) return end;
    if (const End end = check_listeners()) return end;
    if (const End end = check_room()) return end;
    if (!clear_the_way() || !plug_holes()) return HandOverEnd::descriptors;
    for (size_t at = 0; at < numbers_.size(); at += kMostAtOnce) {
        const size_t count = std::min(kMostAtOnce, numbers_.size() - at);
        if (const End end = receive_batch(watch, at, count)) return end;
    }
    image_.hand_over.received_ns = monotonic_ns();
    return std::nullopt;
}

// Only from here on the worker has parked, and the records stand still.
TableReceiver::End TableReceiver::receive_head(const HandOverWatch& watch) {
    std::array<char, kMostHeadBytes> bytes;
    std::array<int32_t, kMostAtOnce> landed;
    if (const End end =
            receive_message(watch, {bytes.data(), sizeof(TableHead), bytes.size()}, landed.data(), 1))
        return end;
    TableHead head;
    std::memcpy(&head, bytes.data(), sizeof head);
    const UniqueFd poller(landed[0]);
    if (::dup3(poller.get(), image_.poller_fd, O_CLOEXEC) < 0) return HandOverEnd::descriptors;
    numbers_ = connection_numbers(image_.memory);
    image_.hand_over.parked_ns = head.parked_ns;
    if (head.magic != kTableMagic || head.records != numbers_.size()) return HandOverEnd::bad_table;
    if (!numbers_.empty() && numbers_.front() < slot::kFirstListenFd) return HandOverEnd::bad_table;
    return std::nullopt;
}

TableReceiver::End TableReceiver::receive_batch(const HandOverWatch& watch, size_t at, size_t count) {
    std::array<int32_t, kMostAtOnce> named, landed;
    const size_t bytes = count * sizeof(int32_t);
    if (const End end = receive_message(watch, {named.data(), bytes, bytes}, landed.data(), count))
        return end;
    if (std::memcmp(named.data(), &numbers_[at], bytes) != 0) return HandOverEnd::bad_table;
    if (std::memcmp(landed.data(), &numbers_[at], bytes) != 0) return HandOverEnd::descriptors;
    return std::nullopt;
}

// An unknown part may name chunks: none of it may be freed by who does not know it, so nothing is taken.
TableReceiver::End TableReceiver::check_level() const {
    const slot::Needed needed = image_.memory.needed();
    if (needed.level <= slot::kLevel) return std::nullopt;
    const auto needy = std::find_if(numbers_.begin(), numbers_.end(), [this](int32_t fd) {
        return image_.memory.records()[fd].needs > slot::kLevel;
    });
    log::error("hand-over: {} needs {} (level {}), and this program knows levels up to {}",
               needy == numbers_.end() ? "the slot" : fmt::format("connection {}", *needy), needed.name,
               needed.level, slot::kLevel);
    return HandOverEnd::beyond_level;
}

TableReceiver::End TableReceiver::check_listeners() const {
    std::bitset<slot::kMaxListeners> known;
    for (const slot::BirthOwner& born : image_.birth.owners) known.set(born.id);
    for (const int32_t fd : numbers_) {
        const uint32_t id = image_.memory.records()[fd].owner;
        if (id < slot::kMaxListeners && known[id]) continue;
        log::error("hand-over: connection {} belongs to listener {}, which this image does not know", fd, id);
        return HandOverEnd::unknown_listener;
    }
    return std::nullopt;
}

// Connections, listening sockets that make way for them, and what is below both. The worker before had fewer
// listening sockets, perhaps, and connections for the rest.
TableReceiver::End TableReceiver::check_room() {
    const size_t needed = static_cast<size_t>(image_.first_connection_fd) + numbers_.size() + kSpare;
    const size_t limit = std::min(image_.birth.descriptor_limit, image_.memory.record_count());
    if (needed <= limit) return std::nullopt;
    log::error(
        "hand-over: {} connections and {} listening sockets need {} descriptors, and a slot's limit is {}",
        numbers_.size(), image_.birth.sockets.size(), needed, limit);
    image_.hand_over.descriptors_needed = static_cast<uint32_t>(needed);
    return HandOverEnd::too_few_descriptors;
}

bool TableReceiver::is_expected(int32_t fd) const {
    return std::binary_search(numbers_.begin(), numbers_.end(), fd);
}

// The image has more sockets, or other ones, than the one before it: the numbers above those belong to
// connections. What stands there beside sockets is not needed any more.
bool TableReceiver::clear_the_way() {
    for (slot::ListenSocket& socket : image_.birth.sockets) {
        if (is_expected(socket.fd) && !move_away(socket.fd)) return false;
    }
    for (const int32_t fd : numbers_) {
        if (fd >= image_.first_connection_fd) break;
        ::close(fd);
    }
    return true;
}

bool TableReceiver::move_away(int32_t& fd) {
    int32_t wanted = image_.first_connection_fd;
    for (;;) {
        while (is_expected(wanted)) ++wanted;
        const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, wanted);
        if (moved < 0) return false;
        if (!is_expected(moved)) {
            ::close(fd);
            fd = moved;
            return true;
        }
        ::close(moved);
        wanted = moved + 1;
    }
}

// Every number below the highest that is to come is then either taken or expected.
bool TableReceiver::plug_holes() {
    if (numbers_.empty()) return true;
    auto next = numbers_.begin();
    for (int32_t fd = slot::kFirstListenFd; fd < numbers_.back(); ++fd) {
        while (*next < fd) ++next;
        if (*next == fd) continue;
        const bool may_be_taken = fd < image_.first_connection_fd || is_own_socket(image_, fd);
        if (may_be_taken && ::fcntl(fd, F_GETFD) >= 0) continue;
        if (::dup3(0, fd, O_CLOEXEC) < 0) return false;
        plugs_.push_back(fd);
    }
    return true;
}

// What lies below the first connection stays plugged, as in every image.
void TableReceiver::unplug() const {
    for (size_t i = 0; i < plugs_.size();) {
        size_t end = i + 1;
        while (end < plugs_.size() && plugs_[end] == plugs_[end - 1] + 1) ++end;
        if (plugs_[i] >= image_.first_connection_fd) {
            ::close_range(static_cast<unsigned>(plugs_[i]), static_cast<unsigned>(plugs_[end - 1]), 0);
        }
        i = end;
    }
}

}  // namespace tcpd::worker
