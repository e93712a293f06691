#pragma once

// A memory control group of one test's own, of version 1 or 2. Owns the group: its destructor ends what is left in it
// and removes it. Where none can be made, and with a sanitizer, the test is skipped:
// *boost::unit_test::precondition(can_limit_memory).
// Source: the kernel's cgroup-v1/memory.rst, cgroup-v2.rst.

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace tcpd::test {

class MemoryGroup {
public:
    // Throws Failed where it can't be made.
    explicit MemoryGroup(uint64_t limit_bytes);
    MemoryGroup(const MemoryGroup&) = delete;
    ~MemoryGroup();

    void limit(uint64_t bytes) const;
    // How often the kernel killed for want of memory.
    uint64_t kills() const;
    uint64_t used_bytes() const;
    const std::string& folder() const { return folder_; }
    // What a program is started by, to run in the group.
    std::vector<std::string> prefix() const;

private:
    std::string folder_;
    bool is_version_2_ = false;
};

boost::test_tools::assertion_result can_limit_memory(boost::unit_test::test_unit_id);

}  // namespace tcpd::test
