#pragma once

// Reloads and upgrades as they are asked for: one is in course, one more is remembered, whoever asks
// meanwhile joins that one. Pure; master only.

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace tcpd::master {

enum class ChangeKind : uint8_t { reload, upgrade };

struct ChangeRequest {
    ChangeKind kind = ChangeKind::reload;
    std::vector<uint64_t> askers;  // of -s; a signal has none
};

class ChangeQueue {
public:
    // An upgrade reads the configuration anew as well, so it takes a reload that waits with it.
    void ask(ChangeKind kind, std::optional<uint64_t> asker) {
        if (!waiting_) waiting_.emplace();
        if (kind == ChangeKind::upgrade) waiting_->kind = kind;
        if (asker) waiting_->askers.push_back(*asker);
    }
    bool is_waiting() const { return waiting_.has_value(); }
    const std::optional<ChangeRequest>& in_course() const { return in_course_; }
    const std::optional<ChangeRequest>& waiting() const { return waiting_; }
    // Over an exec of the master.
    void take_over(std::optional<ChangeRequest> waiting) { waiting_ = std::move(waiting); }
    // The one that waits is in course from now on, if none is.
    bool begin_next() {
        if (in_course_ || !waiting_) return false;
        in_course_ = std::exchange(waiting_, std::nullopt);
        return true;
    }
    ChangeRequest finish() { return *std::exchange(in_course_, std::nullopt); }

private:
    std::optional<ChangeRequest> in_course_, waiting_;
};

}  // namespace tcpd::master
