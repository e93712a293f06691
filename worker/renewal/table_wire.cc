#include "worker/renewal/table_wire.h"

#include <poll.h>

#include <algorithm>

#include "daemon/base/clock.h"

namespace tcpd::worker {

namespace {
constexpr int kStepMs = 5;
constexpr uint32_t kAhead = 24;
}  // namespace

std::vector<int32_t> connection_numbers(slot::SlotMemory& memory) {
    std::vector<int32_t> numbers;
    const uint32_t end = memory.end_of_records();
    numbers.reserve(end);
    for (uint32_t fd = slot::kFirstListenFd; fd < end; ++fd) {
        // Another CPU wrote them: one line after the other would cost its full way each time.
        __builtin_prefetch(&memory.records()[std::min(fd + kAhead, end - 1)]);
        const auto word = slot::RecordWord::unpack(memory.records()[fd].word);
        if (word.state != slot::State::free) numbers.push_back(static_cast<int32_t>(fd));
    }
    return numbers;
}

HandOverWatch::HandOverWatch(slot::SlotMemory& memory, slot::ServiceWord word, uint64_t limit_ns)
    : memory_(memory), expected_(word), until_ns_(monotonic_ns() + limit_ns) {}

slot::ServiceWord HandOverWatch::word() const {
    return slot::ServiceWord::unpack(memory_.master_control().word.load());
}

std::optional<slot::HandOverEnd> HandOverWatch::end() const {
    if (!is_unchanged()) return slot::HandOverEnd::withdrawn;
    if (monotonic_ns() >= until_ns_) return slot::HandOverEnd::late;
    return std::nullopt;
}

bool HandOverWatch::wait(int fd, short events) const {
    pollfd waiting{fd, events, 0};
    return ::poll(&waiting, 1, kStepMs) > 0;
}

}  // namespace tcpd::worker
