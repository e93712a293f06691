#include "tests/support/fake_upstream.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cstring>
#include <random>

namespace tcpd::test {
namespace {

Address parsed(const std::string& text) {
    Result<Address> address = Address::parse(text, true);
    if (!address) throw Failed(address.error().text());
    return *address;
}

Address local_address(int fd) {
    sockaddr_storage local{};
    socklen_t length = sizeof local;
    getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length);
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&local), length);
}

UniqueFd bound(const Address& address) {
    UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd || bind(fd.get(), address.get(), address.length()) != 0) throw Failed("bind failed");
    return fd;
}

UniqueFd bound_listener(const UpstreamOptions& options) {
    UniqueFd fd = bound(options.unix_path.empty() ? fresh_loopback() : parsed("unix:" + options.unix_path));
    // Accepted sockets inherit both.
    if (options.receive_buffer) {
        setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof(int));
    }
    if (options.segment) setsockopt(fd.get(), IPPROTO_TCP, TCP_MAXSEG, &options.segment, sizeof(int));
    if (listen(fd.get(), 4096) != 0) throw Failed("listen failed");
    prepare_socket(fd.get());
    return fd;
}

void watch(int epoll, int fd, uint32_t events, int operation = EPOLL_CTL_ADD) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    if (epoll_ctl(epoll, operation, fd, &event) != 0) throw Failed("epoll_ctl failed");
}

}  // namespace

// The upstream's end: it learns from the client's first bytes what it is to do.
class FakeUpstream::ServerEnd : public ExactEndpoint {
public:
    ServerEnd(UniqueFd fd, const FrameShape& frames)
        : ExactEndpoint(std::move(fd)), frames_(frames), before_hello_(frames ? frames.header_bytes() : 0) {}
    bool is_paced() const override { return is_told() && hello_.paced; }
    uint32_t registered = EPOLLIN;  // with epoll

protected:
    uint64_t send_limit() const override {
        if (!is_told() || hello_.role == Role::sink) return 0;
        if (hello_.role == Role::echo) return received_;
        return hello_.down_bytes == kEndless && end_seen_ ? sent_ : hello_.down_bytes;
    }
    bool output_is_over() const override {
        return end_seen_ || (is_told() && hello_.ends_first && sent_ == hello_.down_bytes);
    }
    bool end_is_right() const override { return is_told(); }
    bool takes(const char* bytes, size_t n) override {
        if (is_told()) return in_.matches(received_, bytes, n);
        first_.append(bytes, n);
        if (first_.size() == told_at()) be_told();
        return true;
    }
    size_t read_limit() const override { return is_told() ? hello_.read_piece : told_at() - received_; }
    size_t piece_limit() const override { return hello_.piece; }
    uint64_t urgent_at() const override {
        if (!is_told() || !hello_.urgent) return kEndless;
        return hello_.role == Role::echo ? told_at() : 0;
    }
    bool resets_now() const override { return is_told() && hello_.resets && sent_ == hello_.down_bytes; }

private:
    uint64_t told_at() const { return before_hello_ + sizeof(Hello); }
    bool is_told() const { return received_ >= told_at(); }
    void be_told() {
        hello_ = Hello::from(first_.data() + before_hello_);
        in_ = pattern(hello_.seed, hello_.bytes());
        out_ = hello_.role == Role::source ? pattern(hello_.seed + 1, "") : in_;
        if (!in_.matches(0, first_.data(), first_.size())) throw Failed("the stream begins wrong");
    }
    Pattern pattern(uint64_t seed, const std::string& hello) const {
        return frames_ ? Pattern::of_frames(seed, frames_, hello).passed_on() : Pattern(seed, hello);
    }
    const FrameShape frames_;
    const size_t before_hello_;
    std::string first_;
    Hello hello_;
};

FakeUpstream::FakeUpstream(const UpstreamOptions& options)
    : frames_(options.frames),
      listener_(bound_listener(options)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC)) {
    address_ = local_address(listener_.get());
    watch(epoll_.get(), listener_.get(), EPOLLIN);
    watch(epoll_.get(), stop_.get(), EPOLLIN);
    thread_ = std::thread([this] { serve(); });
}

FakeUpstream::~FakeUpstream() {
    const uint64_t one = 1;
    if (write(stop_.get(), &one, sizeof one) == sizeof one) thread_.join();
}

void FakeUpstream::serve() {
    for (;;) {
        epoll_event events[64];
        const int count = epoll_wait(epoll_.get(), events, 64, pace() ? 1 : -1);
        for (int i = 0; i < count; ++i) {
            const int fd = events[i].data.fd;
            if (fd == stop_.get()) return;
            if (fd == listener_.get()) {
                accept_all();
            } else {
                on_event(fd, events[i].events);
            }
        }
    }
}

void FakeUpstream::accept_all() {
    for (;;) {
        UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) return;
        prepare_socket(fd.get());
        const int number = fd.get();
        ends_[number] = std::make_unique<ServerEnd>(std::move(fd), frames_);
        watch(epoll_.get(), number, EPOLLIN);
        ++accepted_;
    }
}

void FakeUpstream::on_event(int fd, uint32_t events) {
    const auto found = ends_.find(fd);
    if (found == ends_.end()) return;
    ServerEnd& server = *found->second;
    const uint64_t sent = server.sent(), received = server.received();
    Outcome outcome = Outcome::wrong_byte;
    try {
        outcome = server.advance(events);
    } catch (const Failed&) {  // no Hello
    }
    sent_ += server.sent() - sent;
    received_ += server.received() - received;
    if (outcome != Outcome::going_on) return end(fd, outcome);
    set_interest(fd);
}

void FakeUpstream::set_interest(int fd) {
    ServerEnd& server = *ends_[fd];
    const uint32_t wanted = server.interest();
    if (wanted == server.registered) return;
    server.registered = wanted;
    watch(epoll_.get(), fd, wanted, EPOLL_CTL_MOD);
}

// True if there are any that must be asked again in a millisecond.
bool FakeUpstream::pace() {
    bool has_paced = false;
    for (const auto& [fd, server] : ends_) {
        if (!server->is_paced()) continue;
        has_paced = true;
        set_interest(fd);
    }
    return has_paced;
}

void FakeUpstream::end(int fd, Outcome outcome) {
    ends_.erase(fd);
    finished_ += outcome == Outcome::finished;
    reset_ += outcome == Outcome::reset;
    early_end_ += outcome == Outcome::early_end;
    wrong_ += outcome == Outcome::wrong_byte;
}

UpstreamResults FakeUpstream::results() const {
    return {accepted_, finished_, reset_, early_end_, wrong_, sent_, received_};
}

UpstreamResults FakeUpstream::settled() const {
    wait_for("the upstream's connections to end", [&] {
        const UpstreamResults now = results();
        return now.ended() == now.accepted;
    });
    return results();
}

Address fresh_loopback() {
    static std::mt19937 random{std::random_device{}()};
    std::uniform_int_distribution<int> byte(1, 254);
    return parsed(fmt::format("127.{}.{}.{}:0", byte(random), byte(random), byte(random)));
}

uint16_t free_port() { return local_address(bound(parsed("127.0.0.1:0")).get()).port(); }

RefusingPort::RefusingPort() : fd_(bound(parsed("127.0.0.1:0"))) { address_ = local_address(fd_.get()); }

SilentPort::SilentPort() : listener_(bound(parsed("127.0.0.1:0"))) {
    address_ = local_address(listener_.get());
    // A backlog of 0 holds one connection that nobody accepts; the second one's handshake is then never
    // answered.
    if (listen(listener_.get(), 0) != 0) throw Failed("listen failed");
    for (UniqueFd* fd : {&first_, &second_}) {
        fd->reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        connect(fd->get(), address_.get(), address_.length());
    }
    pollfd poller{first_.get(), POLLOUT, 0};
    poll(&poller, 1, static_cast<int>(kPatience.count()));
}

}  // namespace tcpd::test
