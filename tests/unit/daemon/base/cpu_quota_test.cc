#include "daemon/base/cpu_quota.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace tcpd;

namespace {

// A tree of cgroup files in a directory of its own.
struct Hierarchy {
    Hierarchy() { BOOST_REQUIRE(mkdtemp(root.data())); }
    ~Hierarchy() { std::filesystem::remove_all(root); }
    void put(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
        std::ofstream(root + path) << text;
    }
    int quota(const std::string& membership) const {
        std::optional<unsigned> found = cpu_quota(membership, root);
        return found ? static_cast<int>(*found) : -1;
    }
    std::string root = "/tmp/tcpd-cgroup-XXXXXX";
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(cpu_quota_, Hierarchy)

BOOST_AUTO_TEST_CASE(version_2_is_rounded_up) {
    put("/a/cpu.max", "150000 100000\n");
    BOOST_TEST(quota("0::/a\n") == 2);
    put("/a/cpu.max", "200000 100000\n");
    BOOST_TEST(quota("0::/a\n") == 2);
    put("/a/cpu.max", "1000 100000\n");
    BOOST_TEST(quota("0::/a\n") == 1);
}

BOOST_AUTO_TEST_CASE(no_quota_is_none) {
    put("/a/cpu.max", "max 100000\n");
    BOOST_TEST(quota("0::/a\n") == -1);
    BOOST_TEST(quota("0::/is/not/there\n") == -1);
    BOOST_TEST(quota("") == -1);
}

BOOST_AUTO_TEST_CASE(the_smallest_of_all_levels_holds) {
    put("/a/cpu.max", "300000 100000\n");
    put("/a/b/cpu.max", "max 100000\n");
    put("/a/b/c/cpu.max", "800000 100000\n");
    BOOST_TEST(quota("0::/a/b/c\n") == 3);
    put("/a/b/c/cpu.max", "200000 100000\n");
    BOOST_TEST(quota("0::/a/b/c\n") == 2);
}

BOOST_AUTO_TEST_CASE(in_a_container_the_mount_is_the_group) {
    put("/cpu.max", "400000 100000\n");
    BOOST_TEST(quota("0::/\n") == 4);
    BOOST_TEST(quota("0::/docker/0123\n") == 4);
}

BOOST_AUTO_TEST_CASE(version_1) {
    put("/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n");
    put("/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    BOOST_TEST(quota("5:memory:/a\n4:cpu,cpuacct:/a\n0::/a\n") == 3);
    put("/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
    BOOST_TEST(quota("4:cpu,cpuacct:/a\n") == -1);
    put("/cpu/a/cpu.cfs_quota_us", "100000\n");
    put("/cpu/a/cpu.cfs_period_us", "100000\n");
    BOOST_TEST(quota("4:cpu,cpuacct:/a\n") == 1);
}

BOOST_AUTO_TEST_CASE(rubbish_is_no_quota) {
    for (const char* text :
         {"", "0 100000", "100000 0", "100000", "-1 -1", "x y", "99999999999999999999 1"}) {
        put("/a/cpu.max", text);
        BOOST_TEST(quota("0::/a\n") == -1, text);
    }
    for (const char* membership : {":", "::", "0:", "0::", "0::a", "4:cpuset:/a", "\n\n", "0"}) {
        BOOST_TEST(quota(membership) == -1, membership);
    }
    put("/a/cpu.max", "18446744073709551615 1");
    BOOST_TEST(quota("0::/a") == 65536);
}

BOOST_AUTO_TEST_SUITE_END()
