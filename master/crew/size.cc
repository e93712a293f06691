// How many slots there are: one more, one fewer, none for a while.

#include <algorithm>

#include "daemon/base/log.h"
#include "master/crew/crew.h"

namespace tcpd::master {

Result<void> Crew::find_room_for(unsigned wanted) const {
    const uint32_t spare = supervisor_.spare_slots();
    if (wanted <= workers() + spare) return {};
    return Error{.code = ErrorCode::exhausted,
                 .doing = "have " + std::to_string(wanted) + " workers",
                 .reason = std::to_string(slot::kMaxSlots - spare - workers()) + " of " +
                           std::to_string(slot::kMaxSlots) + " slots still drain, which leaves room for " +
                           std::to_string(workers() + spare),
                 .hint = "try again when some of them have ended; drain.replaced limits how long that takes"};
}

Result<void> Crew::set_workers(unsigned wanted) {
    wanted = std::min(wanted, slot::kMaxSlots);
    const uint64_t now = monotonic_ns();
    while (workers() > std::max(wanted, 1U))
        dismiss(supervisor_.wanted_slots().back(), config().drain.replaced);
    while (workers() < wanted) {
        if (supervisor_.spare_slots() == 0) return find_room_for(wanted);
        const uint32_t number = supervisor_.add_slot(now);
        if (number >= held_.size()) {
            held_.resize(number + 1);
            own_.resize(number + 1);
            slot_generation_.resize(number + 1);
            last_failure_.resize(number + 1);
        }
        own_[number] = {};
        outfit_.slots = std::max(outfit_.slots, number + 1);
        counts_.slots().store(outfit_.slots, std::memory_order_relaxed);
        outfit_.listeners->expect_slot();
        steer();  // away from sockets that nobody accepts from yet
        auto opened = outfit_.listeners->open_slot(number, config());
        if (opened) continue;
        supervisor_.dismiss(number, 0, now);
        return opened;
    }
    return {};
}

void Crew::dismiss(uint32_t number, Duration limit) {
    const uint64_t now = monotonic_ns();
    log::info("slot {} takes no new connections, it ends with those that it has", number);
    supervisor_.dismiss(number, limit.count() == 0 ? 0 : now + to_ns(limit), now);
    carry_out_all(supervisor_.take_actions());
}

void Crew::tell_dismissal(uint32_t number) {
    const uint64_t end_ns = supervisor_.slot(number).dismissal_end_ns;
    const DrainOrder order{.begin_ns = monotonic_ns(),
                           .end_ns = end_ns,
                           .spread = config().drain.spread,
                           .leaves_queues = !supervisor_.is_resting()};
    if (held_[number]) held_[number]->drain(order);
}

void Crew::rest() {
    abandon_roll_out("the daemon drains", monotonic_ns());
    supervisor_.set_resting(true);
    for (const uint32_t number : supervisor_.wanted_slots()) dismiss(number, config().drain.stop);
    outfit_.listeners->close_sockets();
}

Result<void> Crew::wake() {
    if (auto opened = outfit_.listeners->open_again(config()); !opened) return opened;
    supervisor_.set_resting(false);
    return {};
}

}  // namespace tcpd::master
