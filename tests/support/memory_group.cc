#include "tests/support/memory_group.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "tests/support/wait.h"

namespace tcpd::test {

namespace {

std::string read_all(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The path behind `key` in /proc/self/cgroup; empty: there is none.
std::string own_path(const std::string& key) {
    std::ifstream file("/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        const size_t at = line.find(key);
        if (at != std::string::npos) return line.substr(at + key.size());
    }
    return {};
}

// Where a group may be made that has the memory controller: of version 2 beside the own one, since a group with
// processes has none below it.
std::vector<std::string> places() {
    const std::string one = own_path(":memory:"), two = own_path("0::");
    return {"/sys/fs/cgroup/memory" + one, "/sys/fs/cgroup" + two.substr(0, two.rfind('/')),
            "/sys/fs/cgroup"};
}

bool is_there(const std::string& path) { return ::access(path.c_str(), W_OK) == 0; }

std::string make_folder() {
    static int made = 0;
    const std::string name = "/tcpd-test-" + std::to_string(::getpid()) + "-" + std::to_string(++made);
    for (const std::string& place : places()) {
        const std::string folder = place + name;
        if (::mkdir(folder.c_str(), 0755) != 0) continue;
        if (is_there(folder + "/memory.limit_in_bytes") || is_there(folder + "/memory.max")) return folder;
        ::rmdir(folder.c_str());
    }
    return {};
}

}  // namespace

MemoryGroup::MemoryGroup(uint64_t limit_bytes) : folder_(make_folder()) {
    if (folder_.empty()) throw Failed("no memory control group can be made here");
    is_version_2_ = is_there(folder_ + "/memory.max");
    limit(limit_bytes);
}

MemoryGroup::~MemoryGroup() {
    try {
        wait_for("the end of a control group", [this] {
            std::ifstream left(folder_ + "/cgroup.procs");
            for (pid_t pid = 0; left >> pid;) ::kill(pid, SIGKILL);
            return ::rmdir(folder_.c_str()) == 0 || errno != EBUSY;
        });
    } catch (const Failed& failed) {
        BOOST_TEST_MESSAGE(failed.what());
    }
}

void MemoryGroup::limit(uint64_t bytes) const {
    std::ofstream(folder_ + (is_version_2_ ? "/memory.max" : "/memory.limit_in_bytes"))
        << bytes << std::flush;
}

uint64_t MemoryGroup::kills() const {
    const std::string text = read_all(folder_ + (is_version_2_ ? "/memory.events" : "/memory.oom_control"));
    const size_t at = text.find("oom_kill ");
    return at == std::string::npos ? 0 : std::stoull(text.substr(at + 9));
}

uint64_t MemoryGroup::used_bytes() const {
    return std::stoull(read_all(folder_ + (is_version_2_ ? "/memory.current" : "/memory.usage_in_bytes")));
}

std::vector<std::string> MemoryGroup::prefix() const {
    return {"sh", "-c", "echo $$ >'" + folder_ + "/cgroup.procs' && exec \"$@\"", "sh"};
}

boost::test_tools::assertion_result can_limit_memory(boost::unit_test::test_unit_id) {
    if (is_sanitized()) {
        boost::test_tools::assertion_result holds(false);
        holds.message() << "a sanitizer takes more memory than these limits";
        return holds;
    }
    const std::string folder = make_folder();
    if (!folder.empty()) ::rmdir(folder.c_str());
    boost::test_tools::assertion_result holds(!folder.empty());
    holds.message() << "no memory control group can be made here";
    return holds;
}

}  // namespace tcpd::test
