#include "worker/settle.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd;
using worker::settle_by;
using worker::Verdict;

namespace {

constexpr uint32_t kOwn = 7;

Verdict first(uint32_t in_service, uint32_t attempt) { return settle_by({in_service, attempt}, kOwn, true); }
Verdict later(uint32_t in_service, uint32_t attempt) { return settle_by({in_service, attempt}, kOwn, false); }

}  // namespace

BOOST_AUTO_TEST_SUITE(settle)

BOOST_AUTO_TEST_CASE(the_image_in_service_serves) {
    BOOST_TEST((first(kOwn, 0) == Verdict::serve));
    BOOST_TEST((later(kOwn, 0) == Verdict::serve));
}

BOOST_AUTO_TEST_CASE(the_image_in_service_withdraws_an_attempt) {
    BOOST_TEST((first(kOwn, 8) == Verdict::withdraw_and_serve));
    BOOST_TEST((later(kOwn, 8) == Verdict::withdraw_and_serve));
    BOOST_TEST((later(kOwn, 6) == Verdict::withdraw_and_serve));
    BOOST_TEST((later(kOwn, kOwn) == Verdict::withdraw_and_serve));
}

BOOST_AUTO_TEST_CASE(only_the_first_holder_of_an_attempt_commits_it) {
    BOOST_TEST((first(6, kOwn) == Verdict::commit_after_clone));
    BOOST_TEST((later(6, kOwn) == Verdict::withdraw_and_retire));
    BOOST_TEST((first(0, kOwn) == Verdict::commit_after_clone));
    BOOST_TEST((later(0, kOwn) == Verdict::withdraw_and_retire));
}

BOOST_AUTO_TEST_CASE(every_other_image_retires) {
    const uint32_t others[] = {0, 6, 8};
    for (const uint32_t in_service : others)
        for (const uint32_t attempt : others) {
            BOOST_TEST((first(in_service, attempt) == Verdict::retire));
            BOOST_TEST((later(in_service, attempt) == Verdict::retire));
        }
}

BOOST_AUTO_TEST_SUITE_END()
