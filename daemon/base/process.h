#pragma once

// What a process is to the kernel: title, user, limits, signals. Every process.
// Source: prctl(2), setresuid(2), setgroups(2), getrlimit(2), capabilities(7), memfd_create(2).

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"

namespace tcpd {

// Remembers where argv and environ lie, so that a title can be written over them. Call first in main: copies
// the strings of both, so that argv[i] and getenv stay good.
void keep_argv(int argc, char** argv);
// "tcpd: worker 0", as the command line; the thread's name is "tcpd" whatever the title, so that pidof and
// pgrep -x find it. Makes no allocation after keep_argv.
void set_process_title(std::string_view title);

struct User {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;
    std::string name;
};
Result<User> find_user(const std::string& name);
Result<gid_t> find_group(const std::string& name);
// Groups, gid, uid (all three of each), then no capability is left; sets PR_SET_DUMPABLE, else there is no
// core. Without privilege it is an Error unless the process is that user already.
Result<void> become_user(const User& user);
// All sets empty, ambient as well; a part of become_user, alone for a process that keeps its user.
Result<void> drop_capabilities();

// In the effective set; `capability`: a CAP_ number of linux/capability.h.
bool has_capability(int capability);

// Raises the soft limit to the hard one, at most `most`; returns what is in force.
Result<uint64_t> raise_descriptor_limit(uint64_t most = 1'048'576);

// Memory that may be sealed, closed on exec and never to be executed (MFD_NOEXEC_SEAL, since Linux 6.3); sets
// errno where it has none.
UniqueFd make_memfd(const std::string& name);
// Of a size that nobody can change any more, with all bytes 0.
UniqueFd make_sealed_memfd(const std::string& name, uint64_t bytes);

// CPUs that this process may use: affinity, and the cgroup's quota rounded up; at least 1.
unsigned usable_cpus();

// Opens /dev/null over 0 (and over 1 and 2 where they are closed).
Result<void> settle_standard_descriptors();

// "exited with 3", "killed by SIGSEGV, core dumped": from si_code and si_status of waitid(2).
std::string describe_exit(int code, int status);
std::string signal_name(int signal_number);

}  // namespace tcpd
