#include "daemon/base/sandbox_gaps.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd;

namespace {

bool says(const KernelBorders& kernel, const std::string& text, bool own_user = false) {
    const std::string line = describe_gaps(kernel, own_user);
    BOOST_TEST_INFO_SCOPE(line);
    return line.find(text) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sandbox_gaps)

BOOST_AUTO_TEST_CASE(where_all_is_there_nothing_is_said) {
    BOOST_TEST(describe_gaps({true, 6, "6.12.0"}, false) == "");
    BOOST_TEST(describe_gaps({true, 9, "7.1.0"}, true) == "");
}

BOOST_AUTO_TEST_CASE(what_is_missing_is_named_with_what_it_means) {
    BOOST_TEST(says({true, -1, "5.10.0"}, "sandbox: no landlock (kernel 5.10.0): workers can signal"));
    BOOST_TEST(says({true, 2, "6.1.0"}, "landlock without scopes for signals (ABI 2) (kernel 6.1.0)"));
    BOOST_TEST(says({true, 2, "6.1.0"}, "not their own master"));
    BOOST_TEST(says({false, -1, "5.10.0"}, "no landlock and no seccomp"));
    BOOST_TEST(says({false, -1, "5.10.0"}, "all that their user may"));
    BOOST_TEST(says({false, 7, "6.18.0"}, "sandbox: no seccomp (kernel 6.18.0)"));
}

BOOST_AUTO_TEST_CASE(who_has_a_user_for_the_workers_gets_no_advice) {
    BOOST_TEST(says({true, -1, "5.10.0"}, "run the master as root with user: NAME"));
    BOOST_TEST(!says({true, -1, "5.10.0"}, "user: NAME", true));
}

BOOST_AUTO_TEST_CASE(this_kernel_can_be_asked) {
    const KernelBorders kernel = look_at_kernel();
    BOOST_TEST(kernel.has_call_filters);
    BOOST_TEST(!kernel.release.empty());
}

BOOST_AUTO_TEST_SUITE_END()
