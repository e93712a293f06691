#pragma once

// The seat of a slot: a robust futex. Whoever's thread id is in the word does the slot's I/O; its standby
// sleeps on it. Worker and standby. The word lies in a page that an image maps shared and anonymous: its own
// clones have it, no other image has. What the kernel walks at a thread's death (head and node) is static
// memory of each process: a wild write of a worker can't reach its standby's, and every clone finds it at the
// same address. If the holder dies anywhere: the kernel sets FUTEX_OWNER_DIED and wakes the standby, before
// it tears memory down. If the holder's list was corrupt, the master sees the death, stores
// MasterControl::dead_pid and sends the standby slot::holder_died_signal(), whose handler marks the word: the
// second way. Source: set_robust_list(2), futex(2), the kernel's Documentation/locking/robust-futex-ABI.rst.

#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "daemon/base/error.h"

namespace tcpd::worker {

class Seat {
public:
    static Result<Seat> create();
    Seat(Seat&& other) noexcept;
    Seat& operator=(Seat&&) = delete;
    ~Seat();

    // Whose death the second way may report to a standby.
    struct Predecessor {
        pid_t pid = 0;                              // who cloned this process; 0: nobody, the image is new
        std::atomic<uint32_t>* dead_pid = nullptr;  // MasterControl's; a holder clears its own number there
    };
    // Once for an image, while pristine: the handler of the second way.
    static Result<void> prepare_second_way();
    // Returns when the calling thread holds the seat. Calls nothing but gettid, set_robust_list (which
    // replaces glibc's list for this thread) and futex.
    void wait(const Predecessor& predecessor);
    // If `holder` holds the seat: marks it as dead and wakes the standby. Async-signal-safe.
    bool give_away(pid_t holder);
    pid_t holder() const;  // 0: nobody

private:
    explicit Seat(std::atomic<uint32_t>* word) : word_(word) {}
    bool try_take(pid_t tid);
    std::atomic<uint32_t>* word_ = nullptr;
};

}  // namespace tcpd::worker
