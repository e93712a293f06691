#include "tests/support/exact_peer.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>

#include "tests/support/fake_upstream.h"

namespace tcpd::test {
namespace {

std::atomic<uint64_t> seeds{1};

Hello hello_for(const Plan& plan, uint64_t seed) {
    Hello hello;
    hello.seed = seed;
    hello.down_bytes = plan.down_bytes;
    hello.role = plan.far;
    hello.piece = plan.piece;
    hello.read_piece = plan.far_read_piece;
    hello.urgent = plan.urgent;
    hello.ends_first = plan.far_ends_first;
    hello.resets = plan.far_resets;
    hello.paced = plan.far_paced;
    return hello;
}

// Blocks: on loopback the kernel answers, not the daemon.
UniqueFd connected(const Address& address, const Plan& plan) {
    UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) throw Failed("no descriptor left for a client");
    if (plan.receive_buffer) setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &plan.receive_buffer, sizeof(int));
    if (plan.segment) setsockopt(fd.get(), IPPROTO_TCP, TCP_MAXSEG, &plan.segment, sizeof(int));
    const Address source = fresh_loopback();
    if (plan.from_fresh_address && bind(fd.get(), source.get(), source.length()) != 0)
        throw Failed("bind failed");
    if (connect(fd.get(), address.get(), address.length()) != 0) fd.reset();
    return fd;
}

}  // namespace

// The client's end of a stream.
class ExactPeer::ClientEnd : public ExactEndpoint {
public:
    ClientEnd(UniqueFd fd, const Address& address, const Plan& plan, uint64_t seed)
        : ExactEndpoint(std::move(fd)), address_(address), plan_(plan), random_(seed * 2654435761U | 1) {
        if (plan.frames) {
            begin_frames(seed);
            return;
        }
        const std::string hello = hello_for(plan, seed).bytes();
        out_ = Pattern(seed, hello);
        in_ = plan.far == Role::source ? Pattern(seed + 1) : out_;
        up_bytes_ = std::max<uint64_t>(plan.up_bytes, sizeof(Hello));
    }
    const Plan& plan() const { return plan_; }
    const Address& address() const { return address_; }
    bool is_paced() const override { return plan_.paced; }
    void wind_down() {
        if (up_bytes_ == kEndless) up_bytes_ = least_end();
        plan_.holds = plan_.repeats = false;
    }
    uint32_t registered = 0;  // with epoll

protected:
    uint64_t send_limit() const override {
        return plan_.far == Role::echo ? std::min(up_bytes_, in_.asked_by(received_) + plan_.window)
                                       : up_bytes_;
    }
    bool output_is_over() const override {
        if (sent_ < up_bytes_ || plan_.holds || (plan_.far_ends_first && !end_seen_)) return false;
        return plan_.ends_at_once || received_ >= answer_bytes();
    }
    bool end_is_right() const override {
        const bool is_whole = received_ == answer_bytes() || (is_endless_source() && end_sent_);
        return is_whole && (plan_.far_ends_first || end_sent_);
    }
    bool takes(const char* bytes, size_t n) override {
        return received_ + n <= most_bytes() && in_.matches(received_, bytes, n);
    }
    size_t read_limit() const override { return plan_.read_piece; }
    // Another size each time: boundaries of messages and buffers fall anywhere. AUTH comes byte by byte.
    size_t piece_limit() const override {
        if (plan_.frames.authenticates && sent_ < out_.frame_end(0)) return 1;
        random_ = random_ * 6364136223846793005U + 1442695040888963407U;
        return 1 + (random_ >> 33) % plan_.piece;
    }
    uint64_t urgent_at() const override { return plan_.urgent ? sizeof(Hello) : kEndless; }
    bool awaits_bytes() const override { return received_ < most_bytes(); }
    bool resets_now() const override {
        return plan_.resets && sent_ == up_bytes_ && received_ >= most_bytes() / 2;
    }

private:
    void begin_frames(uint64_t seed) {
        const Pattern down = Pattern::of_frames(seed + 1, plan_.frames);
        if (plan_.down_bytes) plan_.down_bytes = down.frame_end(plan_.down_bytes);
        const std::string hello = plan_.frames.greets ? hello_for(plan_, seed).bytes() : "";
        out_ = Pattern::of_frames(seed, plan_.frames, hello);
        in_ = plan_.far == Role::source ? down : out_.reply();
        up_bytes_ = plan_.up_bytes == kEndless ? kEndless : out_.frame_end(plan_.up_bytes);
        if (plan_.frames.last_word == LastWord::none) return;
        plan_.far_ends_first = true;
        out_.end_at(up_bytes_);
        in_.end_at(in_.most_answered(up_bytes_));
        up_bytes_ = out_.last_word_end();
    }
    uint64_t least_end() const {
        return plan_.frames ? out_.frame_end(sent_) : std::max<uint64_t>(sent_, sizeof(Hello));
    }
    bool is_endless_source() const { return plan_.far == Role::source && plan_.down_bytes == kEndless; }
    bool has_last_word() const { return plan_.frames.last_word != LastWord::none; }
    uint64_t answer_bytes() const {
        if (has_last_word()) return in_.last_word_end();
        if (plan_.far == Role::echo) return in_.most_answered(up_bytes_);
        return plan_.far == Role::sink || is_endless_source() ? 0 : plan_.down_bytes;
    }
    uint64_t most_bytes() const {
        if (has_last_word() && sent_ > out_.last_word_begin()) return in_.last_word_end();
        if (plan_.far == Role::echo) return in_.most_answered(sent_);
        return plan_.far == Role::sink ? 0 : plan_.down_bytes;
    }

    Address address_;
    Plan plan_;
    uint64_t up_bytes_;
    mutable uint64_t random_;
};

ExactPeer::ExactPeer() : epoll_(epoll_create1(EPOLL_CLOEXEC)), next_seed_(seeds.fetch_add(1) << 32) {}

ExactPeer::~ExactPeer() = default;

void ExactPeer::open(const Address& address, const Plan& plan, unsigned count) {
    has_paced_ |= plan.paced;
    for (unsigned i = 0; i < count; ++i) start(address, plan);
}

void ExactPeer::start(const Address& address, const Plan& plan) {
    ++results_.opened;
    UniqueFd fd = connected(address, plan);
    if (fd) return adopt(std::move(fd), address, plan);
    ++results_.refused;
}

void ExactPeer::adopt(UniqueFd fd, const Address& address, const Plan& plan) {
    prepare_socket(fd.get());
    if (free_.empty()) {
        free_.push_back(ends_.size());
        ends_.emplace_back();
    }
    const size_t index = free_.back();
    free_.pop_back();
    ends_[index] = std::make_unique<ClientEnd>(std::move(fd), address, plan, next_seed_ += 2);
    ends_[index]->registered = ends_[index]->interest();
    epoll_event event{.events = ends_[index]->registered, .data = {.u64 = index}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, ends_[index]->fd(), &event) != 0)
        throw Failed("epoll_ctl failed");
    ++open_count_;
}

void ExactPeer::step(Milliseconds most) {
    epoll_event events[256];
    if (has_paced_) pace();
    const int count = epoll_wait(epoll_.get(), events, 256, has_paced_ ? 1 : static_cast<int>(most.count()));
    for (int i = 0; i < count; ++i) on_event(events[i].data.u64, events[i].events);
}

void ExactPeer::on_event(size_t index, uint32_t events) {
    ClientEnd& client = *ends_[index];
    const uint64_t before = client.received();
    const Outcome outcome = client.advance(events);
    received_ += client.received() - before;
    if (outcome != Outcome::going_on) return end(index, outcome);
    set_interest(index);
}

void ExactPeer::set_interest(size_t index) {
    ClientEnd& client = *ends_[index];
    const uint32_t wanted = client.interest();
    if (wanted == client.registered) return;
    client.registered = wanted;
    epoll_event event{.events = wanted, .data = {.u64 = index}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.fd(), &event);
}

void ExactPeer::pace() {
    for (size_t i = 0; i < ends_.size(); ++i) {
        if (ends_[i]) set_interest(i);
    }
}

void ExactPeer::end(size_t index, Outcome outcome) {
    const std::unique_ptr<ClientEnd> client = std::move(ends_[index]);
    free_.push_back(index);
    --open_count_;
    if (outcome == Outcome::reset && client->plan().far_resets) outcome = Outcome::finished;
    results_.finished += outcome == Outcome::finished;
    results_.reset += outcome == Outcome::reset;
    results_.early_end += outcome == Outcome::early_end;
    results_.wrong += outcome == Outcome::wrong_byte;
    results_.sent += client->sent();
    results_.received += client->received();
    results_.longest_stall = std::max(results_.longest_stall, client->longest_stall());
    if (client->plan().repeats && !winds_down_) start(client->address(), client->plan());
}

void ExactPeer::run_until(const std::string& what, const std::function<bool()>& holds, Milliseconds limit) {
    const auto give_up = SteadyClock::now() + limit;
    while (!holds()) {
        if (SteadyClock::now() > give_up) {
            throw Failed("gave up waiting for " + what + "; " + results().text() + stuck_text());
        }
        step();
    }
}

void ExactPeer::run_bytes(uint64_t bytes, Milliseconds limit) {
    const uint64_t goal = received_ + bytes;
    run_until(
        "bytes", [&] { return received_ >= goal || results_.lost() != 0; }, limit);
}

void ExactPeer::wind_down() {
    winds_down_ = true;
    for (size_t i = 0; i < ends_.size(); ++i) {
        if (!ends_[i]) continue;
        ends_[i]->wind_down();
        set_interest(i);
    }
}

void ExactPeer::finish(Milliseconds limit) {
    run_until(
        "all connections to end", [&] { return open_count_ == 0; }, limit);
}

PeerResults ExactPeer::results() const {
    PeerResults all = results_;
    for (const auto& client : ends_) {
        if (!client) continue;
        all.sent += client->sent();
        all.received += client->received();
        all.longest_stall = std::max(all.longest_stall, client->longest_stall());
    }
    return all;
}

std::string ExactPeer::stuck_text() const {
    std::string text;
    for (const auto& client : ends_) {
        if (!client || text.size() > 2000) continue;
        text += fmt::format("\n  open: sent {}{}, received {}{}", client->sent(),
                            client->end_sent() ? "+FIN" : "", client->received(),
                            client->end_seen() ? "+FIN" : "");
    }
    return text;
}

std::string PeerResults::text() const {
    return fmt::format(
        "{} opened, {} finished, {} refused, {} reset, {} ended early, {} with a wrong byte, longest stall "
        "{} ms",
        opened, finished, refused, reset, early_end, wrong,
        std::chrono::duration_cast<Milliseconds>(longest_stall).count());
}

void check_all_finished(const PeerResults& results) {
    BOOST_CHECK_MESSAGE(results.lost() == 0 && results.finished == results.opened, results.text());
}

}  // namespace tcpd::test
