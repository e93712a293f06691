#pragma once

// What /proc says about processes and sockets that a test watches. Runs in the test's process; owns nothing.
// A process that is gone has no children, descriptors or memory.
// Source: proc(5).

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/net/address.h"

namespace tcpd::test {

std::vector<pid_t> children_of(pid_t pid);
std::vector<pid_t> members_of_group(pid_t group);  // zombies left out, and who is about to be one
std::string title_of(pid_t pid);                   // as ps shows it: "tcpd: worker 0"
char state_of(pid_t pid);                          // 'R', 'S', 'T', 'Z' ...; 0: gone
bool is_running(pid_t pid);                        // neither gone nor a zombie, nor about to be one
size_t descriptors_of(pid_t pid);
uint64_t pss_bytes_of(pid_t pid);  // of anonymous and shared memory, files left out
size_t tasks_on_machine();

inline constexpr int kCloseWait = 8;  // tcp_states.h
inline constexpr int kListening = 10;
// TCP sockets whose local end is `local`, address and port: another test's may have the same port.
size_t sockets_in_state(const Address& local, int state);
// The same, by the other end.
size_t sockets_towards(const Address& remote, int state);

std::string read_text(const std::string& path);
std::vector<std::string> lines_of(const std::string& text);

}  // namespace tcpd::test
