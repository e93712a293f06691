#pragma once

// Walks all fault points in one condition: workers are killed there, again and again, while exact traffic
// goes on, then nothing may be lost, doubled or wrong, and it must still serve. Runs in the test's process;
// owns daemon, upstream and clients.

#include <array>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "tests/support/blocking_client.h"
#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/fault_area.h"
#include "tests/support/fault_rows.h"
#include "tests/support/test_daemon.h"

namespace tcpd::test {

class FaultWalk {
public:
    FaultWalk(Side side, Case in_case);
    // All points that traffic or a succession reaches.
    void walk();

private:
    void visit(fault::Point point);
    void visit_with_second(fault::Point first);
    void look();
    void kill_at(fault::Point point, bool from_first);
    void kill_before(fault::Point point);
    void kill_at_both(fault::Point first, fault::Point second);
    void kill_until(ExactPeer& peer, const std::function<bool()>& has_acted);
    void check_service(ExactPeer& peer, const std::string& name);
    void check_status(const std::string& name) const;
    void check_books() const;
    void check_upstream(const UpstreamResults& results) const;
    void check_places();
    bool must_act(fault::Point point) const;
    uint32_t draw(uint32_t below) { return below < 2 ? 0 : random_() % below; }

    Side side_;
    Case case_;
    FaultArea area_;
    std::unique_ptr<RefusingPort> refusing_;  // refused
    std::unique_ptr<FakeUpstream> upstream_;
    std::unique_ptr<TestDaemon> daemon_;
    Address address_;
    std::mt19937 random_{std::random_device{}()};
    std::array<uint32_t, kPoints> passes_{};             // in the lives of some connections
    std::vector<std::unique_ptr<BlockingClient>> held_;  // limited
    uint64_t refused_ = 0;
    uint64_t kills_ = 0;
    uint64_t lost_ = 0;                       // over unix sockets
    uint64_t up_bytes_ = 0, down_bytes_ = 0;  // as the clients count them
};

// What a daemon of this walk is configured with, and a client's plan.
std::string walk_config(Side side, Case in_case, const std::string& upstream);
Plan walk_plan(Side side, Case in_case);

}  // namespace tcpd::test
