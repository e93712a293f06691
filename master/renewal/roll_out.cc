#include "master/renewal/roll_out.h"

#include <algorithm>
#include <utility>

namespace tcpd::master {

namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kStartLimit = 30 * kSecond;
constexpr uint64_t kHandOverLimit = 5 * kSecond;
constexpr unsigned kMostTries = 2;

std::string slot_text(uint32_t slot) { return "slot " + std::to_string(slot); }

}  // namespace

const char* name_of(RollOutState state) {
    switch (state) {
        case RollOutState::idle: return "idle";
        case RollOutState::choosing: return "choosing";
        case RollOutState::executing: return "executing";
        case RollOutState::handing_over: return "handing_over";
        case RollOutState::settling: return "settling";
    }
    return "unknown";
}

void RollOut::begin(std::vector<uint32_t> slots, bool can_turn_back, uint64_t now) {
    todo_ = std::move(slots);
    done_.clear();
    reason_.clear();
    can_turn_back_ = can_turn_back;
    turning_back_ = false;
    tries_ = 0;
    enter(RollOutState::choosing, now);
}

void RollOut::add(uint32_t slot) {
    if (state_ == RollOutState::idle) return;
    std::erase(done_, slot);
    if (std::find(todo_.begin(), todo_.end(), slot) == todo_.end()) todo_.push_back(slot);
}

void RollOut::enter(RollOutState state, uint64_t now) {
    state_ = state;
    since_ns_ = now;
}

// -- what happens to the attempt

void RollOut::on_started(uint32_t slot, uint64_t now) {
    if (state_ != RollOutState::executing || slot != slot_) return;
    enter(RollOutState::handing_over, now);
    actions_.push_back({RollOutAct::hand_over, slot, {}});
}

void RollOut::on_committed(uint32_t slot, uint64_t now) {
    if (!is_at(slot) || state_ == RollOutState::settling) return;
    done_.push_back(slot);
    enter(RollOutState::settling, now);
}

void RollOut::on_over(uint32_t slot, const std::string& reason, bool may_try_again, uint64_t now) {
    if (!is_at(slot)) return;
    actions_.push_back({RollOutAct::withdraw, slot, reason});
    if (may_try_again && ++tries_ < kMostTries) return enter(RollOutState::choosing, now);
    fail(slot_text(slot) + ": " + reason, now);
}

void RollOut::abandon(const std::string& reason, uint64_t now) {
    if (state_ == RollOutState::idle) return;
    if (has_attempt()) actions_.push_back({RollOutAct::withdraw, slot_, reason});
    can_turn_back_ = false;
    fail(reason, now);
}

// -- what follows

void RollOut::fail(const std::string& reason, uint64_t now) {
    if (reason_.empty()) reason_ = reason;
    tries_ = 0;
    if (turning_back_ || !can_turn_back_ || done_.empty()) return finish();
    turning_back_ = true;
    todo_ = std::exchange(done_, {});
    actions_.push_back({RollOutAct::turned_back, 0, reason_});
    enter(RollOutState::choosing, now);
}

void RollOut::finish() {
    state_ = RollOutState::idle;
    actions_.push_back({RollOutAct::finished, 0, std::exchange(reason_, {})});
}

void RollOut::choose(const std::vector<bool>& serving, uint64_t now) {
    if (todo_.empty()) return finish();
    const auto ready = std::find_if(todo_.begin(), todo_.end(),
                                    [&](uint32_t slot) { return slot < serving.size() && serving[slot]; });
    if (ready == todo_.end()) return;
    slot_ = *ready;
    enter(RollOutState::executing, now);
    actions_.push_back({RollOutAct::execute, slot_, {}});
}

void RollOut::conclude(const std::vector<bool>& serving, uint64_t now) {
    if (state_ == RollOutState::settling && slot_ < serving.size() && serving[slot_]) {
        std::erase(todo_, slot_);
        tries_ = 0;
        enter(RollOutState::choosing, now);
    }
    if (state_ == RollOutState::choosing) choose(serving, now);
    if (state_ == RollOutState::idle || now < since_ns_ + limit_ns()) return;
    if (state_ == RollOutState::choosing) return fail(slot_text(todo_.front()) + " does not serve", now);
    if (state_ == RollOutState::settling)
        return fail(slot_text(slot_) + ": its new image does not serve", now);
    const char* what = state_ == RollOutState::executing ? "its new image did not start up in 30 s"
                                                         : "the hand-over took longer than 5 s";
    on_over(slot_, what, false, now);
}

std::vector<RollOutAction> RollOut::take_actions() { return std::exchange(actions_, {}); }

uint64_t RollOut::limit_ns() const {
    return state_ == RollOutState::handing_over ? kHandOverLimit : kStartLimit;
}

uint64_t RollOut::next_wake() const {
    return state_ == RollOutState::idle ? ~uint64_t{0} : since_ns_ + limit_ns();
}

}  // namespace tcpd::master
