#include "worker/seat.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "daemon/slot/control_message.h"

namespace tcpd::worker {

namespace {

constexpr size_t kSeatBytes = 4096;

// The kernel reads these at the thread's death: head -> node -> head; the word lies futex_offset after the
// node. The node is in the list for good, since a word that names another thread is passed over. So there is
// no instant between a take and its entry into the list.
robust_list_head robust_head;
robust_list robust_node;

// What the second way's handler looks at. `is_waiting` is false in a holder, also one that has given its seat
// away.
struct SecondWay {
    std::atomic<uint32_t>* word;
    uint32_t held_by_us;  // the word once this process has taken it
    Seat::Predecessor predecessor;
    std::atomic<bool> is_waiting;
};
SecondWay second_way;

pid_t own_tid() { return static_cast<pid_t>(::syscall(SYS_gettid)); }

void sleep_while(std::atomic<uint32_t>& word, uint32_t seen) {
    ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
}

// FUTEX_WAITERS from the start: the kernel wakes nobody without it.
uint32_t held_by(pid_t tid) { return static_cast<uint32_t>(tid) | FUTEX_WAITERS; }

bool is_vacant(uint32_t word) { return word == 0 || (word & FUTEX_OWNER_DIED) != 0; }

// The word may be rubbish too, so the predecessor is compared with what this process remembers of its own
// birth: it alone can have held the seat until now. A changed word also ends a futex wait that begins just
// after this.
void mark_if_predecessor_died() {
    const auto& predecessor = second_way.predecessor;
    if (predecessor.pid == 0 || predecessor.dead_pid->load() != static_cast<uint32_t>(predecessor.pid))
        return;
    uint32_t seen = second_way.word->load();
    while (!is_vacant(seen) && seen != second_way.held_by_us &&
           !second_way.word->compare_exchange_weak(seen, FUTEX_OWNER_DIED)) {
    }
}

void on_holder_died(int) {
    const int kept_errno = errno;
    if (second_way.is_waiting) mark_if_predecessor_died();
    errno = kept_errno;
}

// An earlier process of the same number may have died in this seat: a standby of ours must not take that for
// us.
void clear_own_number(std::atomic<uint32_t>* dead_pid, pid_t pid) {
    auto own = static_cast<uint32_t>(pid);
    if (dead_pid != nullptr) dead_pid->compare_exchange_strong(own, 0);
}

// Per thread, and cleared by the kernel in every clone.
void register_robust_list(std::atomic<uint32_t>* word) {
    robust_node.next = &robust_head.list;
    robust_head.list.next = &robust_node;
    robust_head.futex_offset = reinterpret_cast<char*>(word) - reinterpret_cast<char*>(&robust_node);
    robust_head.list_op_pending = nullptr;
    if (::syscall(SYS_set_robust_list, &robust_head, sizeof robust_head) != 0) std::abort();
}

}  // namespace

Result<Seat> Seat::create() {
    void* page = ::mmap(nullptr, kSeatBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return system_error(errno, "map the page of a seat");
    return Seat(new (page) std::atomic<uint32_t>(0));
}

Seat::Seat(Seat&& other) noexcept : word_(std::exchange(other.word_, nullptr)) {}

Seat::~Seat() {
    if (word_ != nullptr) ::munmap(word_, kSeatBytes);
}

Result<void> Seat::prepare_second_way() {
    struct sigaction action {};
    action.sa_handler = on_holder_died;  // without SA_RESTART: it ends the futex wait
    if (::sigaction(slot::holder_died_signal(), &action, nullptr) != 0)
        return system_error(errno, "handle the signal that tells of a dead predecessor");
    return {};
}

void Seat::wait(const Predecessor& predecessor) {
    const pid_t tid = own_tid();
    register_robust_list(word_);
    second_way.word = word_;
    second_way.held_by_us = held_by(tid);
    second_way.predecessor = predecessor;
    second_way.is_waiting = true;
    mark_if_predecessor_died();  // the signal may have come before this
    while (!try_take(tid)) {
    }
    second_way.is_waiting = false;
    clear_own_number(predecessor.dead_pid, tid);
}

bool Seat::try_take(pid_t tid) {
    uint32_t seen = word_->load();
    if (is_vacant(seen)) return word_->compare_exchange_strong(seen, held_by(tid));
    sleep_while(*word_, seen);
    return false;
}

bool Seat::give_away(pid_t holder) {
    uint32_t held = held_by(holder);
    if (!word_->compare_exchange_strong(held, FUTEX_WAITERS | FUTEX_OWNER_DIED)) return false;
    ::syscall(SYS_futex, word_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    return true;
}

pid_t Seat::holder() const {
    const uint32_t seen = word_->load();
    return is_vacant(seen) ? 0 : static_cast<pid_t>(seen & FUTEX_TID_MASK);
}

}  // namespace tcpd::worker
