#include "tests/support/process_view.h"

#include <dirent.h>
#include <fmt/core.h>
#include <netinet/in.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "tests/support/wait.h"

namespace tcpd::test {
namespace {

std::vector<std::string> names_in(const std::string& path) {
    std::vector<std::string> names;
    DIR* directory = opendir(path.c_str());
    if (!directory) return names;
    while (const dirent* entry = readdir(directory)) {
        if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    closedir(directory);
    return names;
}

constexpr unsigned kExiting = 4;  // PF_EXITING of the kernel's sched.h

struct Stat {
    char state = 0;
    pid_t group = 0;
    unsigned flags = 0;
    // Who is in exit already may have closed its descriptors, by which others know of its end, some time
    // before it is a zombie.
    bool is_alive() const { return state != 0 && state != 'Z' && state != 'X' && (flags & kExiting) == 0; }
};

// The program's name, in brackets, may hold spaces and brackets: what counts starts after the last one.
Stat stat_of(const std::string& pid) {
    const std::string text = read_text("/proc/" + pid + "/stat");
    const size_t end = text.rfind(')');
    if (end == std::string::npos) return {};
    Stat stat;
    pid_t parent = 0, session = 0, terminal = 0, foreground = 0;
    std::istringstream(text.substr(end + 2)) >> stat.state >> parent >> stat.group >> session >> terminal >>
        foreground >> stat.flags;
    return stat;
}

// As /proc/net writes it.
std::string in_table(const Address& address) {
    std::string text;
    if (address.family() == AF_INET) {
        text = fmt::format("{:08X}", reinterpret_cast<const sockaddr_in*>(address.get())->sin_addr.s_addr);
    } else {
        const in6_addr& six = reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr;
        for (const uint32_t word : six.s6_addr32) text += fmt::format("{:08X}", word);
    }
    return text + fmt::format(":{:04X}", address.port());
}

size_t count_sockets(const char* local_or_remote, const Address& address, int state) {
    const std::string wanted = in_table(address);
    size_t count = 0;
    for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"}) {
        for (const std::string& line : lines_of(read_text(path))) {
            std::istringstream words(line);
            std::string number, local, remote, is_state;
            words >> number >> local >> remote >> is_state;
            const std::string& end = *local_or_remote == 'l' ? local : remote;
            if (is_state == fmt::format("{:02X}", state) && end == wanted) ++count;
        }
    }
    return count;
}

}  // namespace

std::string read_text(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

std::vector<pid_t> children_of(pid_t pid) {
    std::istringstream words(read_text(fmt::format("/proc/{0}/task/{0}/children", pid)));
    std::vector<pid_t> children;
    for (pid_t child; words >> child;) children.push_back(child);
    return children;
}

std::vector<pid_t> members_of_group(pid_t group) {
    std::vector<pid_t> members;
    for (const std::string& name : names_in("/proc")) {
        if (name[0] < '0' || name[0] > '9') continue;
        const Stat stat = stat_of(name);
        if (stat.group == group && stat.is_alive()) members.push_back(std::stoi(name));
    }
    return members;
}

std::string title_of(pid_t pid) {
    const std::string text = read_text(fmt::format("/proc/{}/cmdline", pid));
    return text.substr(0, text.find('\0'));
}

char state_of(pid_t pid) { return stat_of(std::to_string(pid)).state; }

bool is_running(pid_t pid) { return stat_of(std::to_string(pid)).is_alive(); }

size_t descriptors_of(pid_t pid) { return names_in(fmt::format("/proc/{}/fd", pid)).size(); }

// Its share of the program's own pages depends on who else runs it.
uint64_t pss_bytes_of(pid_t pid) {
    uint64_t kib = 0;
    for (const std::string& line : lines_of(read_text(fmt::format("/proc/{}/smaps_rollup", pid)))) {
        if (line.starts_with("Pss_Anon:")) kib += std::stoull(line.substr(9));
        if (line.starts_with("Pss_Shmem:")) kib += std::stoull(line.substr(10));
    }
    return kib * 1024;
}

size_t tasks_on_machine() {
    const std::string text = read_text("/proc/loadavg");
    const size_t slash = text.find('/');
    if (slash == std::string::npos) throw Failed("/proc/loadavg is not readable");
    return std::stoul(text.substr(slash + 1));
}

size_t sockets_in_state(const Address& local, int state) { return count_sockets("local", local, state); }

size_t sockets_towards(const Address& remote, int state) { return count_sockets("remote", remote, state); }

}  // namespace tcpd::test
