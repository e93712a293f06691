#pragma once

// How the program is replaced: events in, actions out. Pure: no system call, no log, no clock. Master only.
// The slots come first, the master itself last: until then the old program decides, and can take everything
// back. If the master dies, each slot keeps the program that it runs.
//
//   state         means                                       left when
//   idle          nothing to do                               begin: checking
//   checking      the new program is asked whether it fits    it does: trying | else: idle
//   trying        a child that runs it takes over, for a try  it could: rolling_out | else: idle
//   rolling_out   the slots are renewed with it               all were: trying_again | else: idle
//   trying_again  a child tries once more, as things are now  it could: executing | else: going_back
//   executing     the master becomes it                       that failed: going_back
//   going_back    the slots are renewed with the one before   they were, or could not be: idle
//   any           the daemon is about to stop                 abandon: idle
//
// Each but `checking` begins, with its action, once the crew is free. The action `finished` says why it
// failed; after a way back that is what led to it. Where all went well, the new program goes on (reexec.h).

#include <cstdint>
#include <string>

namespace tcpd::master {

enum class UpgradeState : uint8_t {
    idle,
    checking,
    trying,
    rolling_out,
    trying_again,
    executing,
    going_back
};

enum class UpgradeAct : uint8_t {
    none,
    check,        // ask the program that is at the path now
    probe,        // have a child take over for a try
    roll_out,     // renew the slots with the target
    execute,      // the target, in the place of this program
    turned_back,  // reason: from now on the target is the program before
    finished,     // reason: why it failed
};

struct UpgradeAction {
    UpgradeAct act = UpgradeAct::none;
    std::string reason;
    bool operator==(const UpgradeAction&) const = default;
};

// An event that the state does not wait for is none. Its reason says why not; empty: it could be done.
class Upgrade {
public:
    UpgradeState state() const { return state_; }

    [[nodiscard]] UpgradeAction begin();
    [[nodiscard]] UpgradeAction on_checked(const std::string& reason);
    [[nodiscard]] UpgradeAction on_probed(const std::string& reason);
    // Over, or not even begun.
    [[nodiscard]] UpgradeAction on_rolled_out(const std::string& reason);
    [[nodiscard]] UpgradeAction on_execute_failed(const std::string& reason);
    // No renewal is in course, nothing is half done.
    [[nodiscard]] UpgradeAction on_crew_free();
    [[nodiscard]] UpgradeAction abandon(const std::string& reason);

private:
    bool is_at(UpgradeState state) const { return state_ == state && due_ == UpgradeAct::none; }
    UpgradeAction enter(UpgradeState state, UpgradeAct due);
    UpgradeAction turn_back(const std::string& reason);
    UpgradeAction finish(const std::string& reason);

    UpgradeState state_ = UpgradeState::idle;
    UpgradeAct due_ = UpgradeAct::none;  // what the state begins with
    std::string reason_;                 // why it turned back
};

}  // namespace tcpd::master
