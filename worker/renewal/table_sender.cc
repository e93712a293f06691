#include "worker/renewal/table_sender.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/base/clock.h"
#include "daemon/base/fault_point.h"

namespace tcpd::worker {

namespace {

using slot::HandOverEnd;

constexpr uint64_t kLimitNs = 2'000'000'000;

void attach(msghdr& header, DescriptorRoom& room, const int32_t* descriptors, size_t count) {
    std::memset(&room, 0, sizeof room);
    header.msg_control = room.bytes.data();
    header.msg_controllen = CMSG_SPACE(count * sizeof(int32_t));
    cmsghdr* head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int32_t));
    std::memcpy(CMSG_DATA(head), descriptors, count * sizeof(int32_t));
}

}  // namespace

TableSender::TableSender(Image& image, uint32_t attempt, UniqueFd socket)
    : image_(image),
      socket_(std::move(socket)),
      word_{image.birth.image, attempt},
      watch_(image.memory, word_, kLimitNs) {}

std::optional<HandOverEnd> TableSender::run() {
    End end = send_all();
    if (!end) end = await_word();
    uint64_t expected = word_.pack();
    image_.memory.master_control().word.compare_exchange_strong(
        expected, slot::ServiceWord{word_.in_service, 0}.pack());
    if (watch_.word().in_service != word_.in_service) return std::nullopt;
    return end;
}

void TableSender::beat() {
    image_.memory.worker_control().heartbeat_ns.store(monotonic_ns(), std::memory_order_relaxed);
}

// Descriptors in flight are limited for each user, buffers for each socket: both pass as the image reads.
TableSender::End TableSender::send(const void* bytes, size_t length, const int32_t* descriptors,
                                   size_t count) {
    iovec part{const_cast<void*>(bytes), length};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    DescriptorRoom room;
    attach(header, room, descriptors, count);
    for (;;) {
        if (::sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return std::nullopt;
        const int error = errno;
        if (error == EPIPE || error == ECONNRESET || error == ENOTCONN) return HandOverEnd::peer_gone;
        if (error != EAGAIN && error != EINTR && error != ETOOMANYREFS && error != ENOBUFS &&
            error != ENOMEM) {
            return HandOverEnd::descriptors;
        }
        if (const End over = watch_.end()) return over;
        watch_.wait(socket_.get(), error == EAGAIN ? POLLOUT : 0);
    }
}

TableSender::End TableSender::send_all() {
    FAULT_POINT(renewal_parked_not_sent);
    const uint64_t parked_ns = monotonic_ns();
    const std::vector<int32_t> numbers = connection_numbers(image_.memory);
    const TableHead head{.records = static_cast<uint32_t>(numbers.size()), .parked_ns = parked_ns};
    const int32_t poller = image_.poller_fd;
    if (const End end = send(&head, sizeof head, &poller, 1)) return end;
    for (size_t at = 0; at < numbers.size(); at += kMostAtOnce) {
        const size_t count = std::min(kMostAtOnce, numbers.size() - at);
        const int32_t* batch = numbers.data() + at;
        if (const End end = send(batch, count * sizeof(int32_t), batch, count)) return end;
        FAULT_POINT(renewal_half_sent);
    }
    return std::nullopt;
}

// The image closes its end when it has committed, so that this hears of it at once; it does too when it dies.
TableSender::End TableSender::await_word() {
    for (;;) {
        if (const End end = watch_.end()) return end;
        beat();
        if (watch_.wait(socket_.get(), POLLIN)) {
            return watch_.is_unchanged() ? HandOverEnd::peer_gone : HandOverEnd::withdrawn;
        }
    }
}

}  // namespace tcpd::worker
