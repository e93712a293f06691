#include "master/listen/least_connections.h"

#include <linux/bpf.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "daemon/slot/shared_counts.h"

namespace tcpd::master {

namespace {

constexpr const char* kHint = "it needs CAP_BPF and CAP_NET_ADMIN";

// The one value of the map that the program reads.
struct Choice {
    uint32_t count;
    uint32_t slots[slot::kMaxSlots];
};

long bpf(bpf_cmd command, bpf_attr& attributes) {
    return ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
}

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

Result<UniqueFd> make_map(bpf_map_type type, uint32_t value_bytes, uint32_t entries, uint32_t flags,
                          const char* name) {
    bpf_attr attributes{};
    attributes.map_type = type;
    attributes.key_size = sizeof(uint32_t);
    attributes.value_size = value_bytes;
    attributes.max_entries = entries;
    attributes.map_flags = flags;
    std::strncpy(attributes.map_name, name, sizeof attributes.map_name - 1);
    UniqueFd fd(static_cast<int>(bpf(BPF_MAP_CREATE, attributes)));
    if (!fd) return system_error(errno, "make the BPF map", name, kHint);
    return fd;
}

Result<void> put(int map, uint32_t key, const void* value) {
    bpf_attr attributes{};
    attributes.map_fd = static_cast<uint32_t>(map);
    attributes.key = address_of(&key);
    attributes.value = address_of(value);
    if (bpf(BPF_MAP_UPDATE_ELEM, attributes) == 0) return {};
    return system_error(errno, "change a BPF map");
}

// -- the program

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

// r5: slots to choose from; r9, r3: the best so far and its count; r1: the next to look at. Without a choice,
// and if the socket is gone, the kernel goes by its hash.
Program make_program(int sockets, int choice, int counts) {
    static_assert((slot::kMaxSlots & (slot::kMaxSlots - 1)) == 0);
    constexpr int kSlots = offsetof(Choice, slots);
    Program p;
    p.move(r6, r1);
    p.load_value(r7, choice, 0);
    p.load_value(r8, counts, slot::SharedCounts::kSteeredOffset);
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
    const std::array<size_t, 2> not_opening = unless_opening(p, r6);
    index_words(p, r2, r9, r8);
    p.set(r1, 1);
    p.add_atomically(r2, 0, r1);
    for (const size_t jump : not_opening) p.land(jump);
    p.apply(BPF_AND, r9, slot::kMaxSlots - 1);
    p.store(r10, -4, r9);
    p.move(r1, r6);
    p.load_map(r2, sockets);
    p.move(r3, r10);
    p.apply(BPF_ADD, r3, -4);
    p.set(r4, 0);
    p.call(BPF_FUNC_sk_select_reuseport);
    p.land(none);
    p.set(r0, SK_PASS);
    p.exit();
    return p;
}

Result<UniqueFd> load_program(const Program& program) {
    static constexpr char kLicence[] = "none";
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_SK_REUSEPORT;
    attributes.insns = address_of(program.code().data());
    attributes.insn_cnt = static_cast<uint32_t>(program.code().size());
    attributes.license = address_of(kLicence);
    std::strncpy(attributes.prog_name, "tcpd_steering", sizeof attributes.prog_name - 1);
    UniqueFd fd(static_cast<int>(bpf(BPF_PROG_LOAD, attributes)));
    if (!fd) return system_error(errno, "load the BPF program that steers connections", "", kHint);
    return fd;
}

}  // namespace

Result<UniqueFd> make_counts_map() {
    return make_map(BPF_MAP_TYPE_ARRAY, slot::SharedCounts::kBytes, 1, BPF_F_MMAPABLE, "tcpd_counts");
}

bool is_counts_map(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 && !S_ISREG(status.st_mode);
}

Result<void> LeastConnections::make_maps() {
    if (sockets_ && choice_) return {};
    auto sockets =
        make_map(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, sizeof(uint64_t), slot::kMaxSlots, 0, "tcpd_sockets");
    if (!sockets) return std::move(sockets.error());
    auto choice = make_map(BPF_MAP_TYPE_ARRAY, sizeof(Choice), 1, 0, "tcpd_choice");
    if (!choice) return std::move(choice.error());
    sockets_ = std::move(*sockets);
    choice_ = std::move(*choice);
    return {};
}

Result<void> LeastConnections::attach(int counts_map, int fd) {
    auto program = load_program(make_program(sockets_.get(), choice_.get(), counts_map));
    if (!program) return std::move(program.error());
    const int number = program->get();
    if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &number, sizeof number) != 0) {
        return system_error(errno, "attach the BPF program that steers connections");
    }
    is_attached_ = true;
    return {};
}

// A socket leaves the map by itself when it is closed; one that is in it already is busy.
Result<void> LeastConnections::steer(int counts_map, const std::vector<SteeredSocket>& members,
                                     const std::vector<uint32_t>& chosen) {
    if (auto made = make_maps(); !made) return made;
    Choice choice{};
    for (const SteeredSocket& member : members) {
        const uint64_t fd = static_cast<uint32_t>(member.fd);
        auto done = put(sockets_.get(), member.slot, &fd);
        if (!done && done.error().sys_errno != EBUSY) return done;
        if (std::find(chosen.begin(), chosen.end(), member.slot) != chosen.end()) {
            choice.slots[choice.count++] = member.slot;
        }
    }
    if (auto done = put(choice_.get(), 0, &choice); !done) return done;
    return is_attached_ ? Result<void>() : attach(counts_map, members.front().fd);
}

}  // namespace tcpd::master
