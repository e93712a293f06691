#pragma once

// The few calls of bpf(2) that steering needs. Master only. Owns nothing: what they make is the caller's.
// Source: bpf(2), the kernel's Documentation/bpf.

#include <linux/bpf.h>

#include <cstdint>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd::master {

struct BpfMap {
    bpf_map_type type;
    uint32_t key_bytes = sizeof(uint32_t);
    uint32_t value_bytes = 0;
    uint32_t entries = 1;
    uint32_t flags = 0;
    const char* name = "";
};

Result<UniqueFd> make_map(const BpfMap& wanted);
// `key` and `value` have as many bytes as the map was made for.
Result<void> put(int map, const void* key, const void* value);
// False: it is not there.
bool get(int map, const void* key, void* value);
void forget(int map, const void* key);
// Steers within SO_REUSEPORT groups.
Result<UniqueFd> load_program(const std::vector<bpf_insn>& code);

}  // namespace tcpd::master
