#include "worker/net/deadlines.h"

#include <sys/mman.h>

#include <cstdlib>

namespace tcpd::worker {

namespace {
// `previous` of the first node in a slot; a node with neither is not armed.
constexpr uint32_t kHead = 0x80000000;

bool is_before(slot::Tick a, slot::Tick b) { return static_cast<int32_t>(a - b) < 0; }
}  // namespace

// Address space for all descriptors; a page becomes real with the first of its entries.
Deadlines::Deadlines(uint32_t descriptors) : descriptors_(descriptors) {
    void* memory = mmap(nullptr, sizeof(Node) * descriptors, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) abort();
    nodes_ = static_cast<Node*>(memory);
}

Deadlines::~Deadlines() { munmap(nodes_, sizeof(Node) * descriptors_); }

void Deadlines::arm(int fd, slot::Tick due) {
    Node& node = nodes_[fd];
    if (node.previous != 0) {
        if (!is_before(due, node.due)) return;
        cancel(fd);
    }
    if (running_ && is_before(due, hand_)) due = hand_;
    const uint32_t slot = slot_of(due);
    node = {heads_[slot], kHead | slot, due};
    if (node.next != 0) nodes_[node.next - 1].previous = static_cast<uint32_t>(fd) + 1;
    heads_[slot] = static_cast<uint32_t>(fd) + 1;
    ++armed_;
}

void Deadlines::cancel(int fd) {
    Node& node = nodes_[fd];
    if (node.previous == 0) return;
    if (node.next != 0) nodes_[node.next - 1].previous = node.previous;
    if ((node.previous & kHead) != 0) {
        heads_[node.previous & ~kHead] = node.next;
    } else {
        nodes_[node.previous - 1].next = node.next;
    }
    node = {};
    --armed_;
}

void Deadlines::begin_passing(slot::Tick now) {
    if (!running_ || now - hand_ > kSlots * 4) hand_ = now - kSlots * 4;
    running_ = true;
    is_last_passed_ = false;
}

void Deadlines::take_in_hand(uint32_t slot) {
    heads_[kInHand] = heads_[slot];
    if (heads_[slot] != 0) nodes_[heads_[slot] - 1].previous = kHead | kInHand;
    heads_[slot] = 0;
}

// A slot's list is taken once, and what belongs to a later turn is put back. The hand is past it by then, so
// that nothing is put where it was. Only the slot of `now` it stays at, since its ticks pass one by one.
int Deadlines::pop_due(slot::Tick now) {
    for (;;) {
        while (const uint32_t at = heads_[kInHand]) {
            const int fd = static_cast<int>(at) - 1;
            const slot::Tick due = nodes_[fd].due;
            ++steps_;
            cancel(fd);
            if (!is_before(now, due)) return fd;
            arm(fd, due);
        }
        if (is_last_passed_) return -1;
        const uint32_t slot = slot_of(hand_);
        is_last_passed_ = hand_ / 4 == now / 4;
        if (!is_last_passed_) hand_ = (hand_ / 4 + 1) * 4;
        take_in_hand(slot);
    }
}

}  // namespace tcpd::worker
