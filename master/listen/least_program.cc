#include "master/listen/least_program.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#include "daemon/slot/shared_counts.h"

namespace tcpd::master {

namespace {

enum Register : uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 };

class Program {
public:
    void move(Register to, Register from) { add(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
    void set(Register to, int32_t value) { add(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value); }
    void add_to(Register to, Register other) { add(BPF_ALU64 | BPF_ADD | BPF_X, to, other, 0, 0); }
    void apply(int operation, Register to, int32_t value) {
        add(BPF_ALU64 | operation | BPF_K, to, 0, 0, value);
    }
    void load(Register to, Register from, int offset) { add(BPF_LDX | BPF_MEM | BPF_W, to, from, offset, 0); }
    void load_byte(Register to, Register from, int offset) {
        add(BPF_LDX | BPF_MEM | BPF_B, to, from, offset, 0);
    }
    void load_pointer(Register to, Register from, int offset) {
        add(BPF_LDX | BPF_MEM | BPF_DW, to, from, offset, 0);
    }
    void store(Register to, int offset, Register from) {
        add(BPF_STX | BPF_MEM | BPF_W, to, from, offset, 0);
    }
    void add_atomically(Register to, int offset, Register from) {
        add(BPF_STX | BPF_ATOMIC | BPF_W, to, from, offset, BPF_ADD);
    }
    void load_map(Register to, int map) { load_wide(to, BPF_PSEUDO_MAP_FD, map, 0); }
    // The address of its only value, and so many bytes on.
    void load_value(Register to, int map, uint32_t offset) {
        load_wide(to, BPF_PSEUDO_MAP_VALUE, map, static_cast<int32_t>(offset));
    }
    // A jump whose end `land` says.
    size_t jump_if(int condition, Register a, int32_t value) {
        add(BPF_JMP | condition | BPF_K, a, 0, 0, value);
        return code_.size() - 1;
    }
    size_t jump_if(int condition, Register a, Register b) {
        add(BPF_JMP | condition | BPF_X, a, b, 0, 0);
        return code_.size() - 1;
    }
    size_t jump() {
        add(BPF_JMP | BPF_JA, 0, 0, 0, 0);
        return code_.size() - 1;
    }
    void land(size_t jump) { code_[jump].off = static_cast<int16_t>(code_.size() - jump - 1); }
    size_t here() const { return code_.size(); }
    void jump_back(size_t to) {
        add(BPF_JMP | BPF_JA, 0, 0, static_cast<int>(to) - static_cast<int>(code_.size()) - 1, 0);
    }
    void call(int32_t function) { add(BPF_JMP | BPF_CALL, 0, 0, 0, function); }
    void exit() { add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }
    const std::vector<bpf_insn>& code() const { return code_; }

private:
    void add(int code, int to, int from, int offset, int32_t value) {
        code_.push_back({.code = static_cast<uint8_t>(code),
                         .dst_reg = static_cast<uint8_t>(to & 0xF),
                         .src_reg = static_cast<uint8_t>(from & 0xF),
                         .off = static_cast<int16_t>(offset),
                         .imm = value});
    }
    void load_wide(Register to, int kind, int32_t low, int32_t high) {
        add(BPF_LD | BPF_IMM | BPF_DW, to, kind, 0, low);
        add(0, 0, 0, 0, high);
    }
    std::vector<bpf_insn> code_;
};

// `to` becomes the address of the 32-bit word number `index` behind `base`. The mask is for the verifier.
void index_words(Program& program, Register to, Register index, Register base) {
    program.move(to, index);
    program.apply(BPF_AND, to, slot::kMaxSlots - 1);
    program.apply(BPF_LSH, to, 2);
    program.add_to(to, base);
}

// A count that fell below zero, for a moment, is less than any other.
void load_count(Program& program, Register to, Register slot, Register scratch, Register counts) {
    index_words(program, scratch, slot, counts);
    program.load(to, scratch, 0);
    program.apply(BPF_LSH, to, 32);
    program.apply(BPF_ARSH, to, 32);
}

// Jumps for what opens no connection: a late segment of one that is gone comes to a listening socket, too, and
// is not to be counted.
std::array<size_t, 2> unless_opening(Program& program, Register context) {
    constexpr int kFlagsAt = 13, kSyn = 0x02, kAck = 0x10;  // in a TCP header: RFC 9293, 3.1
    program.load_pointer(r2, context, offsetof(sk_reuseport_md, data));
    program.load_pointer(r3, context, offsetof(sk_reuseport_md, data_end));
    program.move(r4, r2);
    program.apply(BPF_ADD, r4, kFlagsAt + 1);
    const size_t is_short = program.jump_if(BPF_JGT, r4, r3);
    program.load_byte(r4, r2, kFlagsAt);
    program.apply(BPF_AND, r4, kSyn | kAck);
    return {is_short, program.jump_if(BPF_JNE, r4, kSyn)};
}

// Where the program keeps what maps are asked with, below its frame pointer.
constexpr int kPlaceAt = -4, kGroupAt = -8, kKeyAt = -40;
static_assert(kKeyAt + static_cast<int>(sizeof(GroupKey)) <= kGroupAt);

// Any socket of the group may be the one that was met, so its address is the key.
void store_key(Program& p, Register socket) {
    const auto copy = [&p, socket](size_t from, size_t to) {
        p.load(r3, socket, static_cast<int>(from));
        p.store(r10, kKeyAt + static_cast<int>(to), r3);
    };
    const auto address = [](size_t word) { return offsetof(GroupKey, address) + word * sizeof(uint32_t); };
    copy(offsetof(bpf_sock, bound_dev_if), offsetof(GroupKey, device));
    copy(offsetof(bpf_sock, src_port), offsetof(GroupKey, port));
    copy(offsetof(bpf_sock, family), offsetof(GroupKey, family));
    const size_t is_six = p.jump_if(BPF_JEQ, r3, AF_INET6);
    copy(offsetof(bpf_sock, src_ip4), address(0));
    p.set(r3, 0);
    for (size_t word = 1; word < 4; ++word) p.store(r10, kKeyAt + static_cast<int>(address(word)), r3);
    const size_t is_done = p.jump();
    p.land(is_six);
    for (size_t word = 0; word < 4; ++word)
        copy(offsetof(bpf_sock, src_ip6) + word * sizeof(uint32_t), address(word));
    p.land(is_done);
}

// r0 becomes the value's address; jumps if there is none.
size_t look_up(Program& p, int map, int key_at) {
    p.load_map(r1, map);
    p.move(r2, r10);
    p.apply(BPF_ADD, r2, key_at);
    p.call(BPF_FUNC_map_lookup_elem);
    return p.jump_if(BPF_JEQ, r0, 0);
}

// Leaves the group's number at kGroupAt; jumps if it is unknown.
std::vector<size_t> find_group(Program& p, Register context, int groups) {
    std::vector<size_t> unknown;
    if (groups < 0) {
        p.set(r1, 0);
    } else {
        p.load_pointer(r1, context, offsetof(sk_reuseport_md, sk));
        store_key(p, r1);
        unknown.push_back(look_up(p, groups, kKeyAt));
        p.load(r1, r0, 0);
    }
    p.store(r10, kGroupAt, r1);
    return unknown;
}

// r5: slots to choose from; r9, r3: the best so far and its count; r1: the next to look at. r7: the choice,
// r8: the counts. Jumps if there is nothing to choose from.
size_t choose(Program& p) {
    static_assert((slot::kMaxSlots & (slot::kMaxSlots - 1)) == 0);
    constexpr int kSlots = offsetof(Choice, slots);
    p.load(r5, r7, offsetof(Choice, count));
    const size_t none = p.jump_if(BPF_JEQ, r5, 0);
    p.load(r9, r7, kSlots);
    load_count(p, r3, r9, r2, r8);
    p.set(r1, 1);
    const size_t next = p.here();
    const size_t all_seen = p.jump_if(BPF_JGE, r1, r5);
    const size_t at_end = p.jump_if(BPF_JGE, r1, slot::kMaxSlots);
    index_words(p, r2, r1, r7);
    p.load(r4, r2, kSlots);
    load_count(p, r0, r4, r2, r8);
    const size_t not_less = p.jump_if(BPF_JSGE, r0, r3);
    p.move(r3, r0);
    p.move(r9, r4);
    p.land(not_less);
    p.apply(BPF_ADD, r1, 1);
    p.jump_back(next);
    p.land(all_seen);
    p.land(at_end);
    return none;
}

constexpr int kSlotBits = std::countr_zero(slot::kMaxSlots);

// Slot r9 of the group at kGroupAt.
void select_socket(Program& p, Register context, int sockets) {
    p.load(r1, r10, kGroupAt);
    p.apply(BPF_LSH, r1, kSlotBits);
    p.apply(BPF_AND, r9, slot::kMaxSlots - 1);
    p.add_to(r9, r1);
    p.store(r10, kPlaceAt, r9);
    p.move(r1, context);
    p.load_map(r2, sockets);
    p.move(r3, r10);
    p.apply(BPF_ADD, r3, kPlaceAt);
    p.set(r4, 0);
    p.call(BPF_FUNC_sk_select_reuseport);
}

}  // namespace

GroupKey key_of(int socket) {
    GroupKey key{};
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &length);
    key.family = bound.ss_family;
    if (bound.ss_family == AF_INET) {
        const auto& four = reinterpret_cast<const sockaddr_in&>(bound);
        key.address[0] = four.sin_addr.s_addr;
        key.port = ntohs(four.sin_port);
    } else if (bound.ss_family == AF_INET6) {
        const auto& six = reinterpret_cast<const sockaddr_in6&>(bound);
        std::memcpy(key.address, &six.sin6_addr, sizeof key.address);
        key.port = ntohs(six.sin6_port);
        key.device = six.sin6_scope_id;
    }
    length = sizeof key.device;
    ::getsockopt(socket, SOL_SOCKET, SO_BINDTOIFINDEX, &key.device, &length);
    return key;
}

// Without a group or a choice, and if the socket is gone, the kernel goes by its hash.
std::vector<bpf_insn> least_program(const SteeringMaps& maps) {
    Program p;
    p.move(r6, r1);
    std::vector<size_t> undecided = find_group(p, r6, maps.groups);
    undecided.push_back(look_up(p, maps.choices, kGroupAt));
    p.move(r7, r0);
    p.load_value(r8, maps.counts, slot::SharedCounts::kSteeredOffset);
    undecided.push_back(choose(p));
    const std::array<size_t, 2> not_opening = unless_opening(p, r6);
    index_words(p, r2, r9, r8);
    p.set(r1, 1);
    p.add_atomically(r2, 0, r1);
    for (const size_t jump : not_opening) p.land(jump);
    select_socket(p, r6, maps.sockets);
    for (const size_t jump : undecided) p.land(jump);
    p.set(r0, SK_PASS);
    p.exit();
    return p.code();
}

}  // namespace tcpd::master
