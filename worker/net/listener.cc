#include "worker/net/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/base/error.h"
#include "daemon/base/fault_point.h"
#include "daemon/base/log.h"
#include "daemon/slot/control_message.h"

// As text only where a line is written: of a flood's, few are.
template <>
struct fmt::formatter<tcpd::Address> : fmt::formatter<std::string_view> {
    auto format(const tcpd::Address& address, fmt::format_context& context) const {
        return fmt::formatter<std::string_view>::format(address.text(), context);
    }
};

namespace tcpd::worker {

namespace {

constexpr int kMostOfABatch = 64;
constexpr double kPauseSeconds = 0.2;
constexpr double kOthersFirstSeconds = 0.001;
constexpr uint64_t kShareSlack = 16;

bool is_passing(int error) {
    switch (error) {
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case EOPNOTSUPP:
        case ENETUNREACH:
        case ENETDOWN:
        case EPERM:
        case ETIMEDOUT: return true;
        default: return false;
    }
}

// As a record has it.
struct PeerAddress {
    uint8_t family = 0;
    uint8_t bytes[sizeof(slot::Record::address)] = {};
};

PeerAddress address_of(const Address& peer) {
    PeerAddress address;
    if (peer.family() == AF_INET) {
        address.family = 4;
        std::memcpy(address.bytes, &reinterpret_cast<const sockaddr_in*>(peer.get())->sin_addr, 4);
    } else if (peer.family() == AF_INET6) {
        address.family = 6;
        std::memcpy(address.bytes, &reinterpret_cast<const sockaddr_in6*>(peer.get())->sin6_addr, 16);
    }
    return address;
}

}  // namespace

Listener::Listener(struct ev_loop* loop, Connections& connections, slot::SharedCounts& counts,
                   const Rules& rules, const ListenerPlace& place)
    : connections_(connections), counts_(counts), rules_(rules), place_(place), pause_(loop, this) {}

// EPOLLEXCLUSIVE allows no change of what a predecessor registered, hence remove first.
void Listener::start() {
    if (closed_ || is_leaving_) return;
    started_ = true;
    connections_.poller().remove(place_.fd);
    const uint32_t exclusive = place_.is_shared ? static_cast<uint32_t>(EPOLLEXCLUSIVE) : 0;
    connections_.poller().add({place_.fd, kListenerGeneration}, EPOLLIN | exclusive);
}

void Listener::stop() {
    started_ = false;
    pause_.stop();
    connections_.poller().remove(place_.fd);
}

void Listener::pause(double seconds) {
    connections_.poller().remove(place_.fd);
    pause_.start_once(seconds);
}

// Whoever still waits was left by the others: they may be busy, or not there any more. The more often in a
// row, the more is taken at once, so that a slot which is alone with a queue is as fast as any.
void Listener::on_pause_over() {
    start();
    if (!place_.is_shared) return;
    turns_ = has_queue() ? next_turns_ : 0;
    next_turns_ = turns_ == 0 ? 1 : std::min(2 * next_turns_, kMostOfABatch);
}

bool Listener::has_queue() const {
    pollfd queue{place_.fd, POLLIN, 0};
    return ::poll(&queue, 1, 0) == 1;
}

bool Listener::lets_others_go_first() {
    if (!has_more_than_its_share()) {
        turns_ = 0;
        next_turns_ = 1;
        return false;
    }
    if (turns_ > 0) {
        --turns_;
        return false;
    }
    pause(kOthersFirstSeconds);
    return true;
}

void Listener::on_acceptable() {
    if (!started_) return;
    for (int i = 0; i < kMostOfABatch; ++i) {
        if (place_.is_shared && lets_others_go_first()) break;
        const Step step = accept_one();
        if (step == Step::empty || step == Step::paused) break;
    }
    connections_.journal().publish_idle();
}

// Queued by now, at most. The kernel tells of TCP only; a unix socket's queue holds one more than its backlog.
uint32_t Listener::queued() const {
    tcp_info info{};
    socklen_t length = sizeof info;
    const bool is_known =
        getsockopt(place_.fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state == TCP_LISTEN;
    return is_known ? info.tcpi_unacked : rules_.backlog + 1;
}

void Listener::begin_to_leave() {
    if (closed_ || is_leaving_) return;
    stop();
    is_leaving_ = true;
    rest_ = queued();
}

bool Listener::take_rest(int null_fd) {
    if (!is_leaving()) return true;
    for (int i = 0; i < kMostOfABatch && rest_ > 0; ++i) {
        const Step step = accept_one();
        rest_ = step == Step::empty || step == Step::paused ? 0 : rest_ - 1;
    }
    connections_.journal().publish_idle();
    if (rest_ > 0) return false;
    leave_to_others(null_fd);
    return true;
}

void Listener::leave_to_others(int null_fd) {
    if (closed_) return;
    stop();
    closed_ = true;
    dup3(null_fd, place_.fd, O_CLOEXEC);
}

Listener::Step Listener::accept_one() {
    if (connections_.open_count() >= place_.connection_room) return on_accept_error(EMFILE);
    connections_.journal().publish_accepting(rules_.id);
    sockaddr_storage peer;
    socklen_t length = sizeof peer;
    const int fd =
        accept4(place_.fd, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return on_accept_error(errno);
    FAULT_POINT(accept_done_not_published);
    if (fd < slot::kFirstListenFd) {
        Numbers::take_back(fd);
        return Step::refused;
    }
    const Address address = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&peer), length);
    if (is_denied(address.get())) return refuse(fd, slot::RefuseReason::denied, address);
    if (is_quarantined(address)) return refuse(fd, slot::RefuseReason::quarantined, address);
    const auto limit = take_place(fd, address);
    if (limit != slot::RefuseReason::count) return refuse(fd, limit, address);
    take(fd, address);
    return Step::taken;
}

// What it would exceed; `count`: nothing. What an earlier limit counted already is given back where a later
// one refuses; the rate comes last, so that none is spent on whom the others refuse.
slot::RefuseReason Listener::take_place(int fd, const Address& peer) {
    using slot::RefuseReason;
    if (static_cast<uint32_t>(fd) >= connections_.record_count()) return RefuseReason::connections;
    if (is_over_limit()) return RefuseReason::connections;
    const uint64_t key = rules_.connections_per_ip == 0 ? 0 : key_of(peer);
    auto refusal = RefuseReason::per_ip;
    if (!is_over_limit_of_address(key)) {
        if (rules_.accept_rate.admit(counts_.accept_due(rules_.id), connections_.now_ns()))
            return RefuseReason::count;
        refusal = RefuseReason::rate;
        connections_.addresses().remove(key);
    }
    if (rules_.connections != 0) counts_.open(rules_.id, place_.slot).fetch_sub(1);
    return refusal;
}

bool Listener::is_quarantined(const Address& peer) {
    const slot::Quarantine quarantine = counts_.quarantine();
    if (!quarantine.is_used()) [[likely]]
        return false;
    const uint64_t key = key_of(peer);
    return key != 0 && quarantine.refuses(key, connections_.now());
}

bool Listener::is_denied(const sockaddr* peer) const {
    AddressNumber number;
    if ((rules_.deny.is_empty() && rules_.allow.is_empty()) || !to_number(peer, &number)) return false;
    return rules_.deny.contains(number) || (!rules_.allow.is_empty() && !rules_.allow.contains(number));
}

// A flood of these may cost less than it costs the peer: nothing is sent, and few are logged. Whoever steers
// has counted it already, and would take this slot for full.
Listener::Step Listener::refuse(int fd, slot::RefuseReason reason, const Address& peer) {
    close(fd);
    ++rules_.counters->refused[static_cast<size_t>(reason)];
    if (is_steered()) counts_.steered(place_.slot).fetch_sub(1, std::memory_order_relaxed);
    const std::string_view why = name_of(reason);  // a literal
    log::limited(log::Level::warn, {why.data(), rules_.id},
                 "listener \"{}\" refused a connection from {}: {}", rules_.name, peer, why);
    return Step::refused;
}

// The end of each takes one from what was steered here, so each has to be in it.
void Listener::take(int fd, const Address& peer) {
    if (!is_steered()) counts_.steered(place_.slot).fetch_add(1, std::memory_order_relaxed);
    const Connection c =
        connections_.publish_accepted(fd, make_record(peer), {slot::Phase::accepting, rules_.id});
    FAULT_POINT(accept_published_not_registered);
    connections_.watch(c);
    rules_.handler->on_accepted(c);
}

void Listener::adopt_stray(int fd) {
    sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) length = 0;
    const Address address = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&peer), length);
    if (is_denied(address.get())) {
        refuse(fd, slot::RefuseReason::denied, address);
    } else {
        if (rules_.connections_per_ip != 0) connections_.addresses().add(key_of(address));
        take(fd, address);
    }
    connections_.journal().publish_idle();
}

// The own column counts the newcomer before the sum is taken, so that two slots can't both take the last
// place.
bool Listener::is_over_limit() {
    if (rules_.connections == 0) return false;
    std::atomic<uint32_t>& own = counts_.open(rules_.id, place_.slot);
    own.fetch_add(1);
    if (counts_.total(rules_.id, slots()) <= rules_.connections) return false;
    own.fetch_sub(1);
    return true;
}

// Here the fence is what keeps the sum from being taken before the newcomer is seen. A table has room for
// all that the slot can hold; if it had none, nobody would be counted any more.
bool Listener::is_over_limit_of_address(uint64_t key) {
    if (key == 0) return false;
    slot::AddressCounts& addresses = connections_.addresses();
    if (!addresses.add(key)) return true;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (addresses.total(key, slots()) <= rules_.connections_per_ip) return false;
    addresses.remove(key);
    return true;
}

uint64_t Listener::key_of(const Address& peer) const {
    const PeerAddress address = address_of(peer);
    return connections_.addresses().key_of(rules_.id, address.family, address.bytes);
}

uint32_t Listener::slots() const {
    const uint32_t in_use = std::max(place_.slots, counts_.slots().load(std::memory_order_relaxed));
    return std::min(in_use, slot::kMaxSlots);
}

// Compared with those that accept now: what others still hold, or will never have, is no measure.
bool Listener::has_more_than_its_share() {
    const uint64_t own = counts_.open(rules_.id, place_.slot).load(std::memory_order_relaxed);
    if (own <= kShareSlack) return false;
    uint64_t sum = own, sharers = 1;
    for (uint32_t other = 0; other < slots(); ++other) {
        if (other == place_.slot || counts_.in_service(other).load(std::memory_order_relaxed) == 0) continue;
        sum += counts_.open(rules_.id, other).load(std::memory_order_relaxed);
        ++sharers;
    }
    const uint64_t share = sum / sharers;
    return own > share + std::max(kShareSlack, share / 8);
}

Listener::Step Listener::on_accept_error(int error) {
    if (error == EAGAIN || error == ENOTSOCK) return Step::empty;  // a predecessor has closed it in a drain
    if (is_passing(error)) return Step::refused;
    ++connections_.memory().counters().accept_pauses;
    ++rules_.counters->refused[static_cast<size_t>(slot::RefuseReason::descriptors)];
    log::limited(
        log::Level::error, "accept paused",
        "could not accept on listener \"{}\": {} (pausing for {} ms; raise the limit of open files, or "
        "limits.connections keeps clients away earlier)",
        rules_.name, strerror(error), static_cast<int>(kPauseSeconds * 1000));
    pause(kPauseSeconds);
    return Step::paused;
}

slot::Record Listener::make_record(const Address& peer) {
    slot::Record record{};
    slot::RecordWord word;
    word.state = slot::State::open;
    word.kind = place_.is_unix ? slot::Kind::accepted_unix : slot::Kind::accepted_tcp;
    record.word = word.pack();
    auto& serial = connections_.memory().worker_control().next_connection;
    record.id = uint64_t{place_.slot} << 48 | (serial.fetch_add(1, std::memory_order_relaxed) + 1);
    record.peer = kNoPeer;
    record.owner = static_cast<uint16_t>(rules_.id);
    record.opened_ns = connections_.now_ns();
    record.active_tick = record.input_tick = record.progress_tick = record.ended_tick = connections_.now();
    record.port = peer.port();
    const PeerAddress address = address_of(peer);
    record.address_family = address.family;
    std::memcpy(record.address, address.bytes, sizeof address.bytes);
    return record;
}

}  // namespace tcpd::worker
