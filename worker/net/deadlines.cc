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

// The slot under the hand is looked through again and again until the hand leaves it, since its ticks pass
// one by one.
int Deadlines::pop_due(slot::Tick now) {
    if (!running_ || now - hand_ > kSlots * 4) hand_ = now - kSlots * 4;
    running_ = true;
    for (;;) {
        for (uint32_t at = heads_[slot_of(hand_)]; at != 0; at = nodes_[at - 1].next) {
            if (is_before(now, nodes_[at - 1].due)) continue;
            cancel(static_cast<int>(at) - 1);
            return static_cast<int>(at) - 1;
        }
        if (hand_ / 4 == now / 4) return -1;
        hand_ = (hand_ / 4 + 1) * 4;
    }
}

}  // namespace tcpd::worker
