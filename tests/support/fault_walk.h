#pragma once

// Walks all fault points in one condition: the worker is killed there while exact traffic goes on, then
// nothing may be lost, doubled or wrong, and it must still serve. Runs in the test's process; owns daemon,
// upstream and clients.

#include <functional>
#include <memory>

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
    void kill_at(fault::Point point, uint32_t countdown);
    void kill_at_both(fault::Point first, fault::Point second, uint32_t countdown);
    void kill_until(ExactPeer& peer, const std::function<bool()>& has_acted);
    void check_service(ExactPeer& peer, const std::string& name);
    void check_status(const std::string& name) const;
    void check_books() const;
    bool must_act(fault::Point point) const;

    Side side_;
    Case case_;
    FaultArea area_;
    std::unique_ptr<FakeUpstream> upstream_;
    std::unique_ptr<TestDaemon> daemon_;
    Address address_;
    uint64_t kills_ = 0;
    uint64_t lost_ = 0;                       // over unix sockets
    uint64_t up_bytes_ = 0, down_bytes_ = 0;  // as the clients count them
};

// What a daemon of this walk is configured with, and a client's plan.
std::string walk_config(Side side, Case in_case, const std::string& upstream);
Plan walk_plan(Side side, Case in_case);

}  // namespace tcpd::test
