#include "daemon/base/memory_limit.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace tcpd;

namespace {

constexpr uint64_t kMiB = 1024 * 1024;
constexpr const char* kNone = "9223372036854771712\n";

// As recorded on machines; the device numbers and what stands behind them do not matter.
const std::string kVersion2 =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "31 22 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 "
    "rw,nsdelegate,memory_recursiveprot\n";
const std::string kVersion1 =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:2 - cgroup cgroup rw,memory\n";
const std::string kHybrid =
    kVersion1 + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

struct Hierarchy {
    Hierarchy() { BOOST_REQUIRE(mkdtemp(root.data())); }
    ~Hierarchy() { std::filesystem::remove_all(root); }
    void put(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
        std::ofstream(root + path) << text;
    }
    // In MiB; -1: none.
    int limit(const std::string& membership, const std::string& mounts) const {
        const std::optional<MemoryLimit> found = memory_limit(membership, mounts, root);
        return found ? static_cast<int>(found->bytes / kMiB) : -1;
    }
    std::string folder(const std::string& membership, const std::string& mounts) const {
        const std::optional<MemoryLimit> found = memory_limit(membership, mounts, root);
        return found ? found->folder.substr(root.size()) : "none";
    }
    std::string root = "/tmp/tcpd-cgroup-XXXXXX";
};

std::string mib(uint64_t count) { return std::to_string(count * kMiB) + "\n"; }

}  // namespace

BOOST_FIXTURE_TEST_SUITE(memory_limit_, Hierarchy)

BOOST_AUTO_TEST_CASE(version_2_the_least_of_all_levels) {
    const std::string own = "0::/system.slice/tcpd.service\n";
    BOOST_TEST(limit(own, kVersion2) == -1);
    put("/sys/fs/cgroup/system.slice/tcpd.service/memory.max", "max\n");
    BOOST_TEST(limit(own, kVersion2) == -1);
    put("/sys/fs/cgroup/system.slice/memory.max", mib(512));
    BOOST_TEST(limit(own, kVersion2) == 512);
    BOOST_TEST(folder(own, kVersion2) == "/sys/fs/cgroup/system.slice");
    put("/sys/fs/cgroup/system.slice/tcpd.service/memory.max", mib(40));
    BOOST_TEST(limit(own, kVersion2) == 40);
    BOOST_TEST(folder(own, kVersion2) == "/sys/fs/cgroup/system.slice/tcpd.service");
    put("/sys/fs/cgroup/system.slice/memory.max", mib(20));
    BOOST_TEST(limit(own, kVersion2) == 20);
}

BOOST_AUTO_TEST_CASE(version_1_the_least_of_all_levels) {
    const std::string own = "9:name=systemd:/x\n5:cpu,cpuacct:/x\n4:memory:/outer/inner\n";
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", kNone);
    put("/sys/fs/cgroup/memory/outer/memory.limit_in_bytes", kNone);
    put("/sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes", kNone);
    BOOST_TEST(limit(own, kVersion1) == -1);
    put("/sys/fs/cgroup/memory/outer/memory.limit_in_bytes", mib(64));
    BOOST_TEST(limit(own, kVersion1) == 64);
    put("/sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes", mib(40));
    BOOST_TEST(limit(own, kVersion1) == 40);
    BOOST_TEST(folder(own, kVersion1) == "/sys/fs/cgroup/memory/outer/inner");
}

// In a container of version 1 the levels above are out of sight, but the kernel reckons with them.
BOOST_AUTO_TEST_CASE(version_1_names_the_limit_of_what_is_not_mounted) {
    const std::string mounts =
        "35 31 0:32 /docker/0123 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n";
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", kNone);
    put("/sys/fs/cgroup/memory/memory.stat",
        "cache 0\nrss 1024\nhierarchical_memory_limit " + mib(30) + "hierarchical_memsw_limit 5\n");
    BOOST_TEST(limit("4:memory:/docker/0123\n", mounts) == 30);
}

BOOST_AUTO_TEST_CASE(hybrid_the_controller_is_where_it_is_mounted) {
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", mib(40));
    BOOST_TEST(limit("4:memory:/a\n0::/b\n", kHybrid) == 40);
    put("/sys/fs/cgroup/unified/b/memory.max", mib(30));
    BOOST_TEST(limit("4:memory:/a\n0::/b\n", kHybrid) == 30);
}

BOOST_AUTO_TEST_CASE(a_container_without_a_namespace_of_groups) {
    const std::string mounts =
        "35 31 0:32 /docker/0123 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "36 31 0:33 /docker/0123 /sys/fs/cgroup/unified ro - cgroup2 cgroup rw\n";
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", mib(64));
    BOOST_TEST(limit("4:memory:/docker/0123\n", mounts) == 64);
    put("/sys/fs/cgroup/memory/service/memory.limit_in_bytes", mib(32));
    BOOST_TEST(limit("4:memory:/docker/0123/service\n", mounts) == 32);
    // The mount's root is no whole name of this one.
    BOOST_TEST(limit("4:memory:/docker/01234/service\n", mounts) == 64);
    // The path is the host's: what is mounted is all that can be seen.
    BOOST_TEST(limit("4:memory:/kubepods/pod7/0123\n", mounts) == 64);
    put("/sys/fs/cgroup/unified/memory.max", mib(16));
    BOOST_TEST(limit("0::/docker/0123\n", mounts) == 16);
}

BOOST_AUTO_TEST_CASE(a_namespace_of_groups) {
    put("/sys/fs/cgroup/memory.max", mib(128));
    BOOST_TEST(limit("0::/\n", kVersion2) == 128);
    // Mounted before the namespace was made, or the process was moved out of it: never above the mount point.
    const std::string from_outside = "31 22 0:27 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
    BOOST_TEST(limit("0::/\n", from_outside) == 128);
    put("/sys/fs/cgroup/x/memory.max", mib(64));
    BOOST_TEST(limit("0::/../../x\n", from_outside) == 64);
    put("/sys/fs/x/memory.max", mib(1));
    BOOST_TEST(limit("0::/../x\n", kVersion2) == 128);
}

BOOST_AUTO_TEST_CASE(odd_mounts_and_names) {
    const std::string mounts = "31 22 0:27 / /mnt/my\\040groups\\134x rw - cgroup2 none rw\n";
    put("/mnt/my groups\\x/a b:c/memory.max", mib(7));
    BOOST_TEST(limit("0::/a b:c\n", mounts) == 7);
    BOOST_TEST(limit("0::/gone (deleted)\n", mounts) == -1);
    put("/mnt/my groups\\x/memory.max", mib(9));
    BOOST_TEST(limit("0::/gone (deleted)\n", mounts) == 9);
    BOOST_TEST(limit("0::/gone (deleted)\n", mounts + mounts + kVersion2) == 9);
    for (const char* odd : {"", "12MiB\n", "-1\n", "18446744073709551616\n", "\n"}) {
        put("/mnt/my groups\\x/memory.max", odd);
        BOOST_TEST(limit("0::/\n", mounts) == -1, odd);
    }
}

BOOST_AUTO_TEST_CASE(nothing_that_can_be_understood) {
    for (const std::string membership : {"", "\n\n", "0", "0:", "0::", "::", "4:memory:", "no colon\n"})
        for (const std::string mounts :
             {"", "\n", "1", "1 2 3 4 5 6 7 8\n", "1 2 3 / / rw -", " - cgroup2  ", "\\1"})
            BOOST_TEST(limit(membership, mounts) == -1);
    BOOST_TEST(limit("0::/a\n", kVersion2.substr(0, kVersion2.size() / 2)) == -1);
}

BOOST_AUTO_TEST_SUITE_END()
