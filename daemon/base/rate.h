#pragma once

// A limit of so many in so long, kept in one word that holds no count: when the next is due if all come
// evenly. Whoever comes before that by more than the burst is refused. Pure, the clock passed in; every
// process. The word may lie in shared memory: each change is one compare-and-swap, so a death leaves nothing
// half done, and what was left there by another rate is cut to what this one could have left. Source: ITU-T
// I.371 annex A, the generic cell rate algorithm as virtual scheduling.

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace tcpd {

class RateLimit {
public:
    constexpr RateLimit() = default;  // none
    // `count` in `per_ns`, and as many at once after a rest. 0: no limit.
    constexpr RateLimit(uint64_t count, uint64_t per_ns)
        : interval_ns_(count == 0 ? 0 : per_ns / count),
          ahead_ns_(count == 0 ? 0 : interval_ns_ * (count - 1)) {}

    constexpr bool is_limited() const { return interval_ns_ != 0; }

    // `due_ns`: 0 at first.
    bool admit(uint64_t& due_ns, uint64_t now_ns) const {
        if (!is_limited()) return true;
        const Step step = take(due_ns, now_ns);
        due_ns = step.due_ns;
        return step.is_admitted;
    }
    bool admit(std::atomic<uint64_t>& due_ns, uint64_t now_ns) const {
        if (!is_limited()) return true;
        uint64_t due = due_ns.load(std::memory_order_relaxed);
        for (;;) {
            const Step step = take(due, now_ns);
            if (step.due_ns == due || due_ns.compare_exchange_weak(due, step.due_ns)) return step.is_admitted;
        }
    }

    // Counts one that is taken in any case; it is paid for by waiting.
    void charge(uint64_t& due_ns, uint64_t now_ns) const {
        due_ns = std::max(cut(due_ns, now_ns), now_ns) + interval_ns_;
    }
    // What this rate could have left, where another one may have left more.
    uint64_t cut(uint64_t due_ns, uint64_t now_ns) const {
        return std::min(due_ns, now_ns + ahead_ns_ + interval_ns_);
    }
    // Until one would be admitted.
    uint64_t wait_ns(uint64_t due_ns, uint64_t now_ns) const {
        return is_limited() && due_ns > now_ns + ahead_ns_ ? due_ns - now_ns - ahead_ns_ : 0;
    }

private:
    // How far the clocks of two that share a word may be apart, each as of its last look.
    static constexpr uint64_t kApartNs = 1'000'000'000;
    struct Step {
        uint64_t due_ns;
        bool is_admitted;
    };

    Step take(uint64_t due_ns, uint64_t now_ns) const {
        const uint64_t latest = now_ns + ahead_ns_;
        if (due_ns <= latest) return {std::max(due_ns, now_ns) + interval_ns_, true};
        return {due_ns > latest + interval_ns_ + kApartNs ? latest + interval_ns_ : due_ns, false};
    }

    uint64_t interval_ns_ = 0;
    uint64_t ahead_ns_ = 0;  // of its time a burst may come
};

}  // namespace tcpd
