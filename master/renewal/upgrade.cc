#include "master/renewal/upgrade.h"

#include <utility>

namespace tcpd::master {

UpgradeAction Upgrade::begin() {
    if (state_ != UpgradeState::idle) return {};
    state_ = UpgradeState::checking;
    return {UpgradeAct::check, {}};
}

UpgradeAction Upgrade::on_checked(const std::string& reason) {
    if (!is_at(UpgradeState::checking)) return {};
    return reason.empty() ? enter(UpgradeState::trying, UpgradeAct::probe) : finish(reason);
}

UpgradeAction Upgrade::on_probed(const std::string& reason) {
    if (is_at(UpgradeState::trying))
        return reason.empty() ? enter(UpgradeState::rolling_out, UpgradeAct::roll_out) : finish(reason);
    if (is_at(UpgradeState::trying_again))
        return reason.empty() ? enter(UpgradeState::executing, UpgradeAct::execute) : turn_back(reason);
    return {};
}

UpgradeAction Upgrade::on_rolled_out(const std::string& reason) {
    if (is_at(UpgradeState::rolling_out))
        return reason.empty() ? enter(UpgradeState::trying_again, UpgradeAct::probe) : finish(reason);
    return is_at(UpgradeState::going_back) ? finish(reason_) : UpgradeAction{};
}

UpgradeAction Upgrade::on_execute_failed(const std::string& reason) {
    return is_at(UpgradeState::executing) ? turn_back(reason) : UpgradeAction{};
}

UpgradeAction Upgrade::on_crew_free() { return {std::exchange(due_, UpgradeAct::none), {}}; }

UpgradeAction Upgrade::abandon(const std::string& reason) {
    return state_ == UpgradeState::idle ? UpgradeAction{} : finish(reason);
}

UpgradeAction Upgrade::enter(UpgradeState state, UpgradeAct due) {
    state_ = state;
    due_ = due;
    return {};
}

UpgradeAction Upgrade::turn_back(const std::string& reason) {
    reason_ = reason;
    enter(UpgradeState::going_back, UpgradeAct::roll_out);
    return {UpgradeAct::turned_back, reason};
}

UpgradeAction Upgrade::finish(const std::string& reason) {
    UpgradeAction action{UpgradeAct::finished, reason};
    *this = {};
    return action;
}

}  // namespace tcpd::master
