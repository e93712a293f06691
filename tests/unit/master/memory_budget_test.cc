#include "master/memory_budget.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd;
using namespace tcpd::master;

namespace {

constexpr uint64_t kMiB = 1024 * 1024;
const MemoryLimit k40{40 * kMiB, "/sys/fs/cgroup/memory/x"};
constexpr MemoryNeeds kOne{.workers = 1, .descriptor_limit = 20'000, .machine_bytes = 1024 * kMiB};

MemoryBudget automatic(uint64_t mib, unsigned workers) {
    MemoryNeeds needs = kOne;
    needs.workers = workers;
    return make_memory_budget({}, MemoryLimit{mib * kMiB, "/g"}, needs);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(memory_budget)

BOOST_AUTO_TEST_CASE(auto_is_a_share_of_the_limit) {
    const MemoryBudget budget = make_memory_budget({}, k40, kOne);
    BOOST_TEST(budget.total_bytes == 19 * kMiB);
    BOOST_TEST(
        budget.text ==
        "buffers may take 19MiB (memory.total: auto): 60 % of the 40MiB that control group "
        "\"/sys/fs/cgroup/memory/x\" allows, less 5MiB for 1 worker; the rest is enough for 2000 connections "
        "that do not read (limits.connections)");
    BOOST_TEST(budget.warning == "");
    BOOST_TEST(automatic(40, 4).total_bytes == 13 * kMiB);
    BOOST_TEST(automatic(1024, 2).total_bytes == 596 * kMiB);
}

BOOST_AUTO_TEST_CASE(where_nothing_is_left_it_says_so) {
    const MemoryBudget budget = automatic(8, 2);
    BOOST_TEST(budget.total_bytes == kMiB);
    BOOST_TEST(budget.warning ==
               "control group \"/g\" allows 8MiB, which leaves nothing for buffers: 60 % of it is 4MiB, and "
               "2 workers "
               "need 7MiB; they get 1MiB all the same (raise its limit, or set workers lower)");
    BOOST_TEST(automatic(40, 64).total_bytes == kMiB);
    BOOST_TEST(automatic(0, 1).total_bytes == kMiB);
    BOOST_TEST(automatic(40, 0).total_bytes == 19 * kMiB);
}

BOOST_AUTO_TEST_CASE(without_a_limit_there_is_none) {
    const MemoryBudget budget = make_memory_budget({}, std::nullopt, kOne);
    BOOST_TEST(budget.total_bytes == 0U);
    BOOST_TEST(budget.text == "buffers have no limit (memory.total: auto): no control group limits memory");
    BOOST_TEST(budget.warning == "");
}

BOOST_AUTO_TEST_CASE(what_the_file_says_holds_and_is_judged) {
    MemoryBudget budget = make_memory_budget({.total_bytes = 8 * kMiB}, k40, kOne);
    BOOST_TEST(budget.total_bytes == 8 * kMiB);
    BOOST_TEST(budget.text == "buffers may take 8MiB (memory.total)");
    BOOST_TEST(budget.warning == "");
    budget = make_memory_budget({.total_bytes = 0}, k40, kOne);
    BOOST_TEST(budget.total_bytes == 0U);
    BOOST_TEST(
        budget.warning ==
        "buffers have no limit (memory.total: 0), but control group \"/sys/fs/cgroup/memory/x\" allows 40MiB "
        "in all: the kernel may kill tcpd when clients do not read (leave memory.total out, which is 19MiB "
        "here)");
    BOOST_TEST(make_memory_budget({.total_bytes = 20 * kMiB}, k40, kOne).warning != "");
    BOOST_TEST(make_memory_budget({.total_bytes = 0}, std::nullopt, kOne).warning == "");
}

BOOST_AUTO_TEST_CASE(workers_go_before_the_master_by_6_mib) {
    BOOST_TEST(make_memory_budget({}, k40, kOne).worker_oom_raise == 150);
    BOOST_TEST(automatic(4, 1).worker_oom_raise == 800);
    BOOST_TEST(make_memory_budget({}, std::nullopt, kOne).worker_oom_raise == 20);
    BOOST_TEST(make_memory_budget({.total_bytes = 0}, k40, {}).worker_oom_raise == 150);
}

BOOST_AUTO_TEST_SUITE_END()
