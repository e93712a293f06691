#include "daemon/slot/control_message.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace tcpd::slot {

namespace {

// As it goes over the socket: both ends run on one machine, and a new format of it comes with a new
// MessageType.
struct WireMessage {
    uint32_t type, a, b, c;
};
struct WireBirth {
    uint32_t type, image, slot, slots, descriptor_limit, connection_room, log_level, cause, listener_count,
        socket_count;
};
static_assert(sizeof(WireMessage) == 16 && sizeof(WireBirth) == 40 && sizeof(ListenSocket) == 20 &&
              sizeof(BirthListener) == 32);

constexpr size_t kMaxBirthListeners = 1024;  // 32 KiB

union DescriptorRoom {
    cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

Error malformed(std::string reason) {
    return Error{
        .code = ErrorCode::bad_format, .doing = "read a control message", .reason = std::move(reason)};
}

// A peer that closed with messages unread leaves one ECONNRESET, in front of what it had sent before: asked
// again, the kernel goes on to that, and then to the end of file or EPIPE.
bool is_passing(int sys_errno) { return sys_errno == EINTR || sys_errno == ECONNRESET; }

Error send_error(int sys_errno) {
    Error error = system_error(sys_errno, "send a control message");
    if (sys_errno == EAGAIN) error.code = ErrorCode::timed_out;
    if (sys_errno == EPIPE) error.code = ErrorCode::unavailable;
    return error;
}

Error receive_error(int sys_errno) {
    Error error = system_error(sys_errno, "read a control message");
    if (sys_errno == EAGAIN) error.code = ErrorCode::timed_out;
    return error;
}

Error end_of_file() {
    return Error{
        .code = ErrorCode::unavailable, .doing = "read a control message", .reason = "the other end is gone"};
}

Result<void> send_whole(int fd, const msghdr& header) {
    for (;;) {
        if (::sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return {};
        if (!is_passing(errno)) return send_error(errno);
    }
}

void attach(msghdr& header, DescriptorRoom& room, int descriptor) {
    std::memset(&room, 0, sizeof room);
    header.msg_control = room.bytes;
    header.msg_controllen = sizeof room.bytes;
    cmsghdr* head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
}

UniqueFd detach(msghdr& header) {
    const cmsghdr* head = CMSG_FIRSTHDR(&header);
    if (head == nullptr || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS ||
        head->cmsg_len != CMSG_LEN(sizeof(int)))
        return {};
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(head), sizeof descriptor);
    return UniqueFd(descriptor);
}

bool is_known(uint32_t type) {
    switch (static_cast<MessageType>(type)) {
        case MessageType::birth: return false;  // has its own reader
        case MessageType::drain:
        case MessageType::stop:
        case MessageType::pause_accept:
        case MessageType::resume_accept:
        case MessageType::replace_log:
        case MessageType::retire_if_empty:
        case MessageType::hand_over:
        case MessageType::receive_table:
        case MessageType::started:
        case MessageType::seated:
        case MessageType::serving:
        case MessageType::backing_off:
        case MessageType::clone_failed:
        case MessageType::log_replaced:
        case MessageType::drained:
        case MessageType::unparked:
        case MessageType::refused_table: return true;
    }
    return false;
}

bool brings_descriptor(MessageType type) {
    return type == MessageType::replace_log || type == MessageType::hand_over ||
           type == MessageType::receive_table;
}

Result<Received> checked(const WireMessage& wire, UniqueFd descriptor, bool is_cut) {
    if (!is_known(wire.type)) return malformed("it has the unknown type " + std::to_string(wire.type));
    const auto type = static_cast<MessageType>(wire.type);
    if ((descriptor || is_cut) != brings_descriptor(type))
        return malformed("type " + std::to_string(wire.type) +
                         (descriptor ? " brought a descriptor" : " brought no descriptor"));
    return Received{Message{type, wire.a, wire.b, wire.c}, std::move(descriptor), is_cut};
}

// MSG_TRUNC makes the kernel name the whole length, however little room there is.
Result<size_t> next_length(int fd) {
    for (;;) {
        const ssize_t length = ::recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        if (length > 0) return static_cast<size_t>(length);
        if (length == 0) return end_of_file();
        if (!is_passing(errno)) return receive_error(errno);
    }
}

Result<std::vector<char>> receive_bytes(int fd) {
    auto length = next_length(fd);
    if (!length) return std::move(length.error());
    std::vector<char> bytes(*length);
    const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0) return receive_error(errno);
    bytes.resize(static_cast<size_t>(got));
    return bytes;
}

}  // namespace

Result<void> send_message(int control_fd, const Message& message, int descriptor) {
    WireMessage wire{static_cast<uint32_t>(message.type), message.a, message.b, message.c};
    iovec part{&wire, sizeof wire};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    DescriptorRoom room;
    if (descriptor >= 0) attach(header, room, descriptor);
    return send_whole(control_fd, header);
}

Result<Received> receive_message(int control_fd) {
    WireMessage wire{};
    iovec part{&wire, sizeof wire};
    DescriptorRoom room;
    msghdr header{};
    for (;;) {
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = room.bytes;
        header.msg_controllen = sizeof room.bytes;
        const ssize_t got = ::recvmsg(control_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got == 0) return end_of_file();
        if (got < 0 && is_passing(errno)) continue;
        if (got < 0) return receive_error(errno);
        const bool is_cut = (header.msg_flags & MSG_CTRUNC) != 0;
        UniqueFd descriptor = detach(header);
        if (is_cut) descriptor.reset();
        if (static_cast<size_t>(got) != sizeof wire || (header.msg_flags & MSG_TRUNC) != 0)
            return malformed("it has the wrong length");
        return checked(wire, std::move(descriptor), is_cut);
    }
}

namespace {

Error too_many(const char* what, size_t count, size_t limit) {
    return Error{.code = ErrorCode::exhausted,
                 .doing = fmt::format("tell a slot of its {}", what),
                 .reason = fmt::format("there are {}, over the limit of {}", count, limit)};
}

template <typename Item>
iovec part_of(const std::vector<Item>& items) {
    return {const_cast<Item*>(items.data()), items.size() * sizeof(Item)};
}

template <typename Item>
const char* take_items(std::vector<Item>& items, size_t count, const char* from) {
    items.resize(count);
    if (count > 0) std::memcpy(items.data(), from, count * sizeof(Item));
    return from + count * sizeof(Item);
}

}  // namespace

Error cut_error() {
    Error error{.code = ErrorCode::exhausted, .doing = "take a descriptor that came with a message"};
    const UniqueFd one(::fcntl(0, F_DUPFD_CLOEXEC, 0));
    error.sys_errno = one ? 0 : errno;
    if (one) error.reason = "the kernel cut it off";
    if (error.sys_errno == EMFILE)
        error.hint = "this process has all that it may have: raise the limit of open files";
    return error;
}

Result<void> send_birth(int control_fd, const Birth& birth) {
    if (birth.sockets.size() > kMaxBirthSockets)
        return too_many("listening sockets", birth.sockets.size(), kMaxBirthSockets);
    if (birth.listeners.size() > kMaxBirthListeners)
        return too_many("listeners", birth.listeners.size(), kMaxBirthListeners);
    WireBirth wire{static_cast<uint32_t>(MessageType::birth),
                   birth.image,
                   birth.slot,
                   birth.slots,
                   birth.descriptor_limit,
                   birth.connection_room,
                   birth.log_level,
                   birth.cause,
                   static_cast<uint32_t>(birth.listeners.size()),
                   static_cast<uint32_t>(birth.sockets.size())};
    iovec parts[] = {{&wire, sizeof wire}, part_of(birth.listeners), part_of(birth.sockets)};
    msghdr header{};
    header.msg_iov = parts;
    header.msg_iovlen = 3;
    return send_whole(control_fd, header);
}

Result<Birth> receive_birth(int control_fd) {
    auto bytes = receive_bytes(control_fd);
    if (!bytes) return std::move(bytes.error());
    WireBirth wire{};
    if (bytes->size() < sizeof wire) return malformed("it is too short to be a birth");
    std::memcpy(&wire, bytes->data(), sizeof wire);
    if (wire.type != static_cast<uint32_t>(MessageType::birth))
        return malformed("it has type " + std::to_string(wire.type) + " and is no birth");
    if (wire.socket_count > kMaxBirthSockets || wire.listener_count > kMaxBirthListeners ||
        bytes->size() != sizeof wire + wire.listener_count * sizeof(BirthListener) +
                             wire.socket_count * sizeof(ListenSocket))
        return malformed(fmt::format("it has the wrong length for {} listeners and {} sockets",
                                     wire.listener_count, wire.socket_count));
    Birth birth{
        wire.image, wire.slot, wire.slots, wire.descriptor_limit, wire.connection_room, wire.log_level,
        wire.cause, {},        {}};
    const char* rest = take_items(birth.listeners, wire.listener_count, bytes->data() + sizeof wire);
    take_items(birth.sockets, wire.socket_count, rest);
    return birth;
}

std::string_view name_of(HandOverEnd end) {
    switch (end) {
        case HandOverEnd::withdrawn: return "the attempt was withdrawn";
        case HandOverEnd::late: return "it took too long";
        case HandOverEnd::peer_gone: return "the other process went away in the middle";
        case HandOverEnd::descriptors: return "a descriptor could not be passed on";
        case HandOverEnd::unknown_listener: return "a connection belongs to a listener that is not there";
        case HandOverEnd::bad_table: return "what was sent does not fit slot memory";
        case HandOverEnd::no_standby: return "the new image could not clone its standby";
        case HandOverEnd::too_few_descriptors: return "there are too few descriptors";
        case HandOverEnd::count: break;
    }
    return "no reason that is known";
}

}  // namespace tcpd::slot
