#include "master/listen/bpf.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "daemon/base/signals.h"

namespace tcpd::master {

namespace {

constexpr const char* kHint = "it needs CAP_BPF and CAP_NET_ADMIN";

long bpf(bpf_cmd command, bpf_attr& attributes) {
    return ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
}

// The kernel takes milliseconds to look a program through, and gives up, EAGAIN, where a signal comes
// meanwhile: they wait. A stop can't be held back.
long load_undisturbed(bpf_attr& attributes) {
    constexpr int kMostTries = 5;
    sigset_t before;
    ::sigprocmask(SIG_SETMASK, nullptr, &before);
    block_all_signals();
    long fd = -1;
    for (int tries = 0; tries < kMostTries; ++tries) {
        fd = bpf(BPF_PROG_LOAD, attributes);
        if (fd >= 0 || errno != EAGAIN) break;
    }
    const int load_errno = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    errno = load_errno;
    return fd;
}

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

}  // namespace

Result<UniqueFd> make_map(const BpfMap& wanted) {
    bpf_attr attributes{};
    attributes.map_type = wanted.type;
    attributes.key_size = wanted.key_bytes;
    attributes.value_size = wanted.value_bytes;
    attributes.max_entries = wanted.entries;
    attributes.map_flags = wanted.flags;
    std::strncpy(attributes.map_name, wanted.name, sizeof attributes.map_name - 1);
    UniqueFd fd(static_cast<int>(bpf(BPF_MAP_CREATE, attributes)));
    if (!fd) return system_error(errno, "make the BPF map", wanted.name, kHint);
    return fd;
}

Result<void> put(int map, const void* key, const void* value) {
    bpf_attr attributes{};
    attributes.map_fd = static_cast<uint32_t>(map);
    attributes.key = address_of(key);
    attributes.value = address_of(value);
    if (bpf(BPF_MAP_UPDATE_ELEM, attributes) == 0) return {};
    return system_error(errno, "change a BPF map");
}

bool get(int map, const void* key, void* value) {
    bpf_attr attributes{};
    attributes.map_fd = static_cast<uint32_t>(map);
    attributes.key = address_of(key);
    attributes.value = address_of(value);
    return bpf(BPF_MAP_LOOKUP_ELEM, attributes) == 0;
}

void forget(int map, const void* key) {
    bpf_attr attributes{};
    attributes.map_fd = static_cast<uint32_t>(map);
    attributes.key = address_of(key);
    bpf(BPF_MAP_DELETE_ELEM, attributes);
}

Result<UniqueFd> load_program(const std::vector<bpf_insn>& code) {
    static constexpr char kLicence[] = "none";
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_SK_REUSEPORT;
    attributes.insns = address_of(code.data());
    attributes.insn_cnt = static_cast<uint32_t>(code.size());
    attributes.license = address_of(kLicence);
    std::strncpy(attributes.prog_name, "tcpd_steering", sizeof attributes.prog_name - 1);
    UniqueFd fd(static_cast<int>(load_undisturbed(attributes)));
    if (!fd) return system_error(errno, "load the BPF program that steers connections", "", kHint);
    return fd;
}

}  // namespace tcpd::master
