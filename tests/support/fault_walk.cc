#include "tests/support/fault_walk.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "tests/support/framed_client.h"

namespace tcpd::test {
namespace {

constexpr unsigned kClients = 6;
constexpr unsigned kPlaces = 3 * kClients;  // limited; who comes next may come before the last one is closed

// Of the journal's points many steps have a share.
uint32_t deaths_at(fault::Point point) {
    using fault::Point;
    return point >= Point::journal_filled_not_published && point <= Point::journal_applied_not_idle ? 40 : 10;
}

UpstreamOptions upstream_options(Side side, Case in_case, const TempDir& directory) {
    UpstreamOptions options{.frames = walk_plan(side, in_case).frames};
    options.frames.authenticates = false;  // that is between client and proxy
    if (in_case == unix_socket) options.unix_path = directory / "upstream.sock";
    if (in_case == pressure) {
        options.receive_buffer = 4096;
        options.segment = 536;
    }
    return options;
}

const TempDir& socket_directory() {
    static const TempDir directory;
    return directory;
}

void end_first(Plan& plan, Side side, Case in_case) {
    if (in_case == client_ends_first) {
        // Little, so that the end is there as soon as the bytes are.
        plan.ends_at_once = true;
        plan.up_bytes = std::min<uint64_t>(plan.up_bytes, 1500);
        plan.window = 1 << 20;
    }
    plan.resets = in_case == client_resets;
    plan.far_resets = in_case == upstream_resets;
    if (in_case != upstream_ends_first) return;
    plan.far = Role::source;
    plan.far_ends_first = true;
    plan.down_bytes = side == client_side ? 100 : 12'000;
}

void press(Plan& plan, Side side) {
    if (side & kProxiedFrames) plan.far = Role::source;  // an echo comes no faster than it can be read
    plan.up_bytes = plan.up_bytes > 1000 ? 120'000 : plan.up_bytes;
    plan.down_bytes = plan.down_bytes || plan.far == Role::source ? 120'000 : 0;
    plan.window = 1 << 30;
    plan.piece = 8000;
    plan.receive_buffer = 4096;
    plan.segment = 536;
    plan.from_fresh_address = true;
    plan.read_piece = plan.far_read_piece = 4000;
    plan.paced = plan.far_paced = true;
}

// The window has room for the longest frame, which comes back once all of it is there. No PINGs where an
// upstream answers: nobody can know which of its answers come first.
void make_frames(Plan& plan, Side side) {
    plan.far = Role::echo;
    plan.piece = 300;
    plan.frames = {.least_bytes = 0, .most_bytes = 400};
    if (side & (kChunks | kLong)) {
        plan.up_bytes = 200'000;
        plan.window = 400'000;
        plan.piece = 16'000;
        plan.frames = {.least_bytes = 4096, .most_bytes = 65'000};
    }
    if (side & kLong) plan.frames = {.least_bytes = 66'000, .most_bytes = 150'000};
    plan.frames.pings = (side & (kProxy | held_back)) == 0;
    plan.frames.greets = side & kProxy;
    plan.frames.is_tcpd = (side & (proxied_lengths | proxied_raw_replies | held_back)) == 0;
    plan.frames.authenticates = side & (framed_auth | proxied_auth);
    if (side == framed_auth) plan.up_bytes = 500;
    if (side == held_back) {
        plan.up_bytes = 5000;
        plan.frames.most_bytes = 150;
    }
    if (side & (framed_closed | proxied_broken | proxied_goodbye)) {
        plan.up_bytes = 2000;
        plan.frames.last_word = side == proxied_goodbye ? LastWord::goodbye : LastWord::broken;
    }
    if (side == framed_discard) plan.frames.answerer = Answerer::discard;
    if (side == framed_routes) plan.frames.answerer = Answerer::routes;
    if (side == proxied_refused) plan.frames.answerer = Answerer::refusing;
}

std::string framing_of(Side side) {
    if ((side & kFramed) == 0) return "";
    if (side == proxied_raw_replies) return "framing: asked, ";
    if (side & (proxied_lengths | held_back)) return "framing: lengths, ";
    if ((side & (framed_auth | proxied_auth)) == 0) return "framing: tcpd, ";
    return fmt::format("framing: tcpd, auth: {{methods: [token], tokens: {}}}, ",
                       socket_directory().write("tokens", kTokens));
}

const char* handler_of(Side side) {
    if (side & kProxy) return "{proxy: back}";
    if (side & (discard | framed_discard)) return "discard";
    return side == framed_routes ? kStreamRoutes : "echo";
}

}  // namespace

std::string walk_config(Side side, Case in_case, const std::string& upstream) {
    std::string text = fmt::format(
        "workers: 1\nlog: {{level: info}}\nsupervisor: {{respawn: {{initial: 1ms, max: 1ms}}}}\n"
        "framings: {{lengths: {{{}}}, asked: {{{}, replies: raw}}}}\n"
        "listeners: {{it: {{listen: '{}', {}limits: {{output_high: 16KiB, output_low: 4KiB, "
        "connections_per_ip: {}{}}}, handler: {}}}}}\n",
        kStreamFraming, kStreamFraming, in_case == unix_socket ? "unix:$DIR/it.sock" : "127.0.0.1:0",
        framing_of(side), in_case == limited ? kPlaces : 0, side == held_back ? ", message_rate: 50/s" : "",
        handler_of(side));
    if (side & kProxy) text += fmt::format("upstreams: {{back: {{servers: ['{}']}}}}\n", upstream);
    return text;
}

Plan walk_plan(Side side, Case in_case) {
    Plan plan{.up_bytes = 12'000, .window = 3000, .piece = 1000, .repeats = true};
    if (side == discard || side == client_side) plan.far = Role::sink;
    if (side == upstream_side) {
        plan.far = Role::source;
        plan.up_bytes = 100;
        plan.down_bytes = 12'000;
    }
    if (side & kFramed) make_frames(plan, side);
    plan.urgent = in_case == urgent_byte;
    end_first(plan, side, in_case);
    if (in_case == pressure) press(plan, side);
    return plan;
}

FaultWalk::FaultWalk(Side side, Case in_case) : side_(side), case_(in_case) {
    if (side & kProxy) {
        upstream_ = std::make_unique<FakeUpstream>(upstream_options(side, in_case, socket_directory()));
    }
    std::string servers = upstream_ ? upstream_->text() : "";
    if (in_case == refused) {
        refusing_ = std::make_unique<RefusingPort>();
        servers = refusing_->text() + "', '" + servers;  // a successor begins with it
    }
    daemon_ = std::make_unique<TestDaemon>(
        DaemonOptions{.config = walk_config(side, in_case, servers), .environment = {area_.environment()}});
    address_ = daemon_->address("it");
}

void FaultWalk::walk() {
    look();
    for (size_t i = 0; i < kPoints; ++i) {
        const auto point = static_cast<fault::Point>(i);
        const Provoked how = kRows[i].how;
        if (how == Provoked::by_traffic || how == Provoked::by_succession) visit(point);
        if (how == Provoked::by_traffic && must_act(point)) visit_with_second(point);
    }
    if (area_.passed(fault::Point::recv_before) == 0)
        throw Failed("this tcpd was built without fault points");
    if (upstream_ && case_ != unix_socket) check_upstream(upstream_->settled());
    held_.clear();
    wait_for("all to be closed", [&] { return daemon_->open_connections() == 0; });
    check_books();
}

// What the clients sent and received is what the counters say, whoever died in between.
void FaultWalk::check_books() const {
    if (case_ == unix_socket) return;  // some of theirs were on the way when they were lost
    const Status status = daemon_->status();
    BOOST_CHECK_EQUAL(status.count("it", "accepted"), status.total("closed"));
    if (case_ & kResets) return;  // a reset takes with it what was on the way
    BOOST_CHECK_EQUAL(status.count("it", "received_bytes"), up_bytes_);
    BOOST_CHECK_EQUAL(status.count("it", "sent_bytes"), down_bytes_);
}

// It got and sent what the clients sent and got, but for the frames and last words that are tcpd's. Who
// breaks its stream once all was answered is ended at once, on both sides.
void FaultWalk::check_upstream(const UpstreamResults& results) const {
    if (case_ & kResets) {
        BOOST_CHECK_EQUAL(results.wrong, 0U);
        return;
    }
    BOOST_CHECK_EQUAL(results.finished + (side_ == proxied_broken ? results.reset : 0), results.accepted);
    if (side_ & (proxied_goodbye | proxied_broken | proxied_auth | proxied_refused)) return;
    BOOST_CHECK_EQUAL(results.received, up_bytes_);
    BOOST_CHECK_EQUAL(results.sent, down_bytes_);
}

// Those that live through the whole walk, and as many as the limit leaves room for; then one more is refused.
void FaultWalk::check_places() {
    const auto wait_open = [this](size_t count) {
        wait_for("the places", [&] { return daemon_->count("it", "open") == count; });
    };
    wait_open(held_.size());
    const size_t held = held_.empty() ? kPlaces / 2 : held_.size();
    while (held_.size() < kPlaces) held_.push_back(std::make_unique<BlockingClient>(address_));
    wait_open(kPlaces);
    BOOST_CHECK(BlockingClient(address_).wait_end() != Ending::timed_out);
    ++refused_;
    wait_for("the refusal to be counted", [&] { return daemon_->count("it", "refused per_ip") == refused_; });
    held_.resize(held);
    wait_open(held);
}

void FaultWalk::visit(fault::Point point) {
    const bool by_traffic = kRows[static_cast<size_t>(point)].how == Provoked::by_traffic;
    for (unsigned i = 0; i < times(1, 30); ++i) by_traffic ? kill_at(point, i == 0) : kill_before(point);
}

// The successor of who died at `first` dies as well: as it adopts, and where it goes on with what was in
// hand.
void FaultWalk::visit_with_second(fault::Point first) {
    using fault::Point;
    for (unsigned i = 0; i < times(1, 10); ++i) {
        kill_at_both(first, Point::adopt_done);
        if (is_soak()) kill_at_both(first, Point::adopt_before);
        const bool is_counted = first == Point::recv_done_not_published ||
                                first == Point::send_done_not_published ||
                                first == Point::flush_done_not_published;
        if (is_counted && must_act(Point::recovery_counted_not_published)) {
            for (unsigned n = 0; n < 3; ++n) kill_at_both(first, Point::recovery_counted_not_published);
        }
    }
}

bool FaultWalk::must_act(fault::Point point) const {
    const Row& row = kRows[static_cast<size_t>(point)];
    return ((row.sides & side_) && (row.cases & case_)) || (row.always & side_);
}

// How often the points are passed in the lives of some connections.
void FaultWalk::look() {
    for (size_t i = 0; i < kPoints; ++i) passes_[i] = area_.passed(static_cast<fault::Point>(i));
    ExactPeer peer;
    peer.open(address_, walk_plan(side_, case_), kClients);
    check_service(peer, "nothing");
    for (size_t i = 0; i < kPoints; ++i) passes_[i] = area_.passed(static_cast<fault::Point>(i)) - passes_[i];
}

// On the first pass, which lies where connections begin, and then on others through the lives of some: at the
// same distance from each other, they could all be alike.
void FaultWalk::kill_at(fault::Point point, bool from_first) {
    const std::string name = kPointNames[static_cast<size_t>(point)];
    const uint32_t before = area_.acted(point), deaths = must_act(point) ? deaths_at(point) : 1;
    const auto draw_distance = [&] {
        return 3 + draw(3 + passes_[static_cast<size_t>(point)] / deaths_at(point));
    };
    ExactPeer peer;
    area_.arm(point, fault::Action::kill, from_first ? 1 : draw_distance(), draw_distance());
    peer.open(address_, walk_plan(side_, case_), kClients);
    peer.run_until(fmt::format("{} deaths at {}", deaths, name), [&] {
        area_.change_every(draw_distance());
        return area_.acted(point) - before >= deaths ||
               (!must_act(point) && peer.results().finished > kClients);
    });
    area_.disarm();
    kills_ += area_.acted(point) - before;
    check_service(peer, name);
}

// Workers are killed wherever they are, until a successor was at the point.
void FaultWalk::kill_before(fault::Point point) {
    const uint32_t before = area_.acted(point);
    ExactPeer peer;
    area_.arm(point, fault::Action::kill);
    peer.open(address_, walk_plan(side_, case_), kClients);
    kill_until(peer, [&] { return area_.acted(point) > before; });
    area_.disarm();
    kills_ += area_.acted(point) - before;
    check_service(peer, kPointNames[static_cast<size_t>(point)]);
}

void FaultWalk::kill_at_both(fault::Point first, fault::Point second) {
    const uint32_t countdown = 2 + draw(passes_[static_cast<size_t>(first)] / 2);
    const std::string name = fmt::format("{}, pass {}, then {}", kPointNames[static_cast<size_t>(first)],
                                         countdown, kPointNames[static_cast<size_t>(second)]);
    const uint32_t before = area_.acted(second);
    ExactPeer peer;
    area_.arm_two(first, second, fault::Action::kill, countdown);
    peer.open(address_, walk_plan(side_, case_), kClients);
    peer.run_until(name + " to act", [&] { return area_.acted(second) > before; });
    kills_ += 2;
    check_service(peer, name);
}

void FaultWalk::check_service(ExactPeer& peer, const std::string& name) {
    const uint64_t finished = peer.results().finished;
    peer.run_until("service to go on after " + name, [&] { return peer.results().finished >= finished + 2; });
    peer.wind_down();
    peer.finish();
    const PeerResults results = peer.results();
    lost_ += results.lost();
    up_bytes_ += results.sent;
    down_bytes_ += results.received;
    const bool is_right =
        results.wrong == 0 && (case_ == unix_socket ? lost_ <= kills_ : results.lost() == 0);
    BOOST_CHECK_MESSAGE(is_right, name << ": " << results.text());
    check_status(name);
    if (case_ == limited) check_places();
}

void FaultWalk::kill_until(ExactPeer& peer, const std::function<bool()>& has_acted) {
    for (int tries = 0; !has_acted(); ++tries) {
        const uint64_t goal = peer.results().sent + 5000 + static_cast<uint64_t>(tries) * 777 % 5000;
        peer.run_until("some bytes", [&] { return peer.results().sent >= goal || has_acted(); });
        Pids pids;
        peer.run_until("a pair", [&] { return (pids = daemon_->pids(0)).both(); });
        if (has_acted()) return;
        kill(pids.worker, SIGKILL);
        ++kills_;
        peer.run_until("another worker", [&] { return daemon_->pids(0).worker != pids.worker; });
    }
}

void FaultWalk::check_status(const std::string& name) const {
    const Status status = daemon_->status();
    const uint64_t in_flight = status.count("it", "closed unix_in_flight");
    BOOST_CHECK_MESSAGE(status.total("lost") == in_flight, name << ": lost connections are counted");
    BOOST_CHECK_MESSAGE(in_flight == 0 || case_ == unix_socket, name << ": " << in_flight << " in flight");
    for (const char* reason : {"closed untrusted_record", "closed stuck_recovery"}) {
        BOOST_CHECK_MESSAGE(status.count("it", reason) == 0, name << ": " << reason);
    }
}

}  // namespace tcpd::test
