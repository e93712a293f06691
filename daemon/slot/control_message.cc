#include "daemon/slot/control_message.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "daemon/base/fields.h"

namespace tcpd::slot {

template <typename A>
static void fields(A& a, GivenDescriptor& v) {
    a("name", v.name, "fd", v.fd);
}

namespace {

constexpr size_t kMaxBirthOwners = 1024;
constexpr size_t kMaxMessageBytes = 4096;

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

// None where it is not one. The room for one has space for two, since it is aligned: the kernel fills it, and whatever
// it brought is taken, or the sender could fill this process's table.
UniqueFd detach(msghdr& header) {
    const cmsghdr* head = CMSG_FIRSTHDR(&header);
    if (head == nullptr || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) return {};
    int came[sizeof(DescriptorRoom) / sizeof(int)];
    const size_t bytes = std::min(head->cmsg_len - CMSG_LEN(0), sizeof came);
    std::memcpy(came, CMSG_DATA(head), bytes);
    if (bytes == sizeof(int)) return UniqueFd(came[0]);
    for (size_t i = 0; i < bytes / sizeof(int); ++i) ::close(came[i]);
    return {};
}

bool brings_descriptor(MessageType type) {
    return type == MessageType::replace_log || type == MessageType::hand_over ||
           type == MessageType::receive_table;
}

template <typename A>
void fields(A& a, Message& v) {
    a("type", v.type, "a", v.a, "b", v.b, "c", v.c);
}

Result<Received> decode(std::string_view bytes, UniqueFd descriptor, bool is_cut) {
    Received received{.message = {MessageType{}}, .descriptor = std::move(descriptor), .is_cut = is_cut};
    FieldReader reader(bytes);
    fields(reader, received.message);
    const auto type = static_cast<uint32_t>(received.message.type);
    if (!reader.is_good() || type == 0) return malformed("it is damaged");
    if (received.message.type == MessageType::birth) return malformed("it is a birth, which comes first");
    if (brings_descriptor(received.message.type) && !received.descriptor && !is_cut)
        return malformed("type " + std::to_string(type) + " brought no descriptor");
    return received;
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
    FieldWriter writer;
    fields(writer, const_cast<Message&>(message));
    const std::string& bytes = writer.bytes();
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    DescriptorRoom room;
    if (descriptor >= 0) attach(header, room, descriptor);
    return send_whole(control_fd, header);
}

Result<Received> receive_message(int control_fd) {
    char bytes[kMaxMessageBytes];
    iovec part{bytes, sizeof bytes};
    DescriptorRoom room;
    msghdr header{};
    for (;;) {
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = room.bytes;
        header.msg_controllen = sizeof room.bytes;
        const ssize_t got = ::recvmsg(control_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0 && is_passing(errno)) continue;
        if (got < 0) return receive_error(errno);
        const bool is_cut = (header.msg_flags & MSG_CTRUNC) != 0;
        UniqueFd descriptor = detach(header);  // also of a message without a byte
        if (got == 0) return end_of_file();
        if (is_cut) descriptor.reset();
        if ((header.msg_flags & MSG_TRUNC) != 0) return malformed("it is too long");
        return decode({bytes, static_cast<size_t>(got)}, std::move(descriptor), is_cut);
    }
}

namespace {

Error too_many(const char* what, size_t count, size_t limit) {
    return Error{.code = ErrorCode::exhausted,
                 .doing = fmt::format("tell a slot of its {}", what),
                 .reason = fmt::format("there are {}, over the limit of {}", count, limit)};
}

// Long lists go as they lie in memory, behind the bytes that an item takes. An item grows at its end only: of a longer
// one the known part is taken, what a shorter one lacks is 0.
template <typename Item>
std::string pack_items(const std::vector<Item>& items) {
    const uint32_t bytes = sizeof(Item);
    std::string packed(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    return packed.append(reinterpret_cast<const char*>(items.data()), items.size() * sizeof(Item));
}

template <typename Item>
bool unpack_items(std::string_view packed, size_t most, std::vector<Item>& items) {
    uint32_t bytes = 0;
    if (packed.empty()) return true;
    if (packed.size() < sizeof bytes) return false;
    std::memcpy(&bytes, packed.data(), sizeof bytes);
    packed.remove_prefix(sizeof bytes);
    if (bytes == 0 || packed.size() % bytes != 0 || packed.size() / bytes > most) return false;
    for (; !packed.empty(); packed.remove_prefix(bytes))
        std::memcpy(&items.emplace_back(Item{}), packed.data(), std::min<size_t>(bytes, sizeof(Item)));
    return true;
}

// `owners` and `sockets`: packed.
template <typename A>
void birth_fields(A& a, Birth& v, MessageType& type, std::string& owners, std::string& sockets) {
    a("type", type, "image", v.image, "slot", v.slot, "slots", v.slots, "descriptor_limit",
      v.descriptor_limit, "connection_room", v.connection_room, "log_level", v.log_level, "is_renewal",
      v.is_renewal, "cause", v.cause, "owners", owners, "sockets", sockets, "descriptors", v.descriptors);
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

const std::vector<GivenDescriptor>& known_descriptors() {
    static const std::vector<GivenDescriptor> kKnown = {
        {"control", kControlFd}, {"board", kBoardFd},         {"counts", kCountsFd},  {"bundle", kBundleFd},
        {"log", kLogFd},         {"addresses", kAddressesFd}, {"buffers", kBuffersFd}};
    return kKnown;
}

Result<void> send_birth(int control_fd, const Birth& birth) {
    if (birth.sockets.size() > kMaxBirthSockets)
        return too_many("listening sockets", birth.sockets.size(), kMaxBirthSockets);
    if (birth.owners.size() > kMaxBirthOwners)
        return too_many("listeners", birth.owners.size(), kMaxBirthOwners);
    FieldWriter writer;
    auto type = MessageType::birth;
    std::string owners = pack_items(birth.owners), sockets = pack_items(birth.sockets);
    birth_fields(writer, const_cast<Birth&>(birth), type, owners, sockets);
    iovec part{const_cast<char*>(writer.bytes().data()), writer.bytes().size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    return send_whole(control_fd, header);
}

Result<Birth> receive_birth(int control_fd) {
    auto bytes = receive_bytes(control_fd);
    if (!bytes) return std::move(bytes.error());
    Birth birth;
    MessageType type{};
    std::string owners, sockets;
    FieldReader reader({bytes->data(), bytes->size()});
    birth_fields(reader, birth, type, owners, sockets);
    if (!reader.is_good() || type != MessageType::birth) return malformed("it is no birth");
    if (!unpack_items(owners, kMaxBirthOwners, birth.owners) ||
        !unpack_items(sockets, kMaxBirthSockets, birth.sockets))
        return malformed("its lists of listeners and sockets are damaged");
    if (birth.cause >= Cause::count) birth.cause = Cause::reload;  // of a later version
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
        case HandOverEnd::beyond_level: return "a connection needs what only a later version knows";
        case HandOverEnd::count: break;
    }
    return "no reason that is known";
}

}  // namespace tcpd::slot
