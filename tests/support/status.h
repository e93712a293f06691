#pragma once

// What `tcpd -s status` prints, as a test asks for it. Lines are words: `slot N` followed by pairs of name
// and value, or `listener NAME WHAT [DETAIL] VALUE`. Runs in the test's process; owns nothing.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tcpd::test {

struct SlotStatus {
    pid_t worker = 0;
    pid_t standby = 0;  // 0: none
    std::string state;
    uint64_t image = 0;
    uint64_t attempt = 0;
    uint64_t seats = 0;
};

class Status {
public:
    static Status parse(const std::string& text);

    const std::vector<SlotStatus>& slots() const { return slots_; }
    uint64_t seats() const;  // over all slots
    // "open", "accepted", "closed finished", "adopted crash", "lost slot_lost"; not printed: 0.
    // Throws Failed where there is no counter of that name.
    uint64_t count(const std::string& listener, const std::string& what) const;
    // Sum of all details of "closed", "adopted", "lost" over all listeners.
    uint64_t total(const std::string& what) const;
    // Of the n-th address of a listener, as printed: "127.0.0.1:41234".
    std::string address(const std::string& listener, size_t n = 0) const;
    const std::string& text() const { return text_; }

private:
    std::string text_;
    std::vector<SlotStatus> slots_;
    std::map<std::string, uint64_t> counts_;  // "echo closed finished"
    std::map<std::string, std::vector<std::string>> addresses_;
};

}  // namespace tcpd::test
