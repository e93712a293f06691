#include "worker/net/silence.h"

#include <algorithm>

namespace tcpd::worker {

using slot::Tick;

namespace {

constexpr Tick kMostPeriod = 9 * 60 * 60;  // 9 min: Record::awaited_since tells 18 apart

}  // namespace

Tick Patience::period() const {
    const Tick half = std::max<Tick>(gone / 2, 1);
    return std::min({half, slow_reader == 0 ? half : slow_reader, kMostPeriod});
}

PeerVerdict judge(const PeerSigns& signs, const Patience& patience, Tick unanswered) {
    using What = PeerVerdict::What;
    if (!signs.is_known || signs.is_settled) return {What::settled};
    Tick again = patience.period();
    if (signs.is_unanswered) {
        if (signs.heard >= patience.gone && unanswered >= kAnswerTicks) return {What::gone};
        const Tick left = signs.heard < patience.gone ? patience.gone - signs.heard : 1;
        again = std::min(again, std::max(left, unanswered < kAnswerTicks ? kAnswerTicks - unanswered : 1));
    }
    if (signs.is_shut && patience.slow_reader != 0) {
        if (signs.sent >= patience.slow_reader) return {What::slow};
        again = std::min(again, patience.slow_reader - signs.sent);
    }
    return {What::waits, again};
}

}  // namespace tcpd::worker
