#include "daemon/slot/sip_hash.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd;

BOOST_AUTO_TEST_SUITE(sip_hash)

// The bytes 0 to 23 under the key of the bytes 0 to 15, as `openssl mac` has it.
BOOST_AUTO_TEST_CASE(it_is_what_others_compute) {
    constexpr slot::SipKey kKey{0x0706050403020100, 0x0F0E0D0C0B0A0908};
    BOOST_TEST(slot::sip_hash(kKey, 0x0706050403020100, 0x0F0E0D0C0B0A0908, 0x1716151413121110) ==
               0xB8AD50C6F649AF94U);
}

BOOST_AUTO_TEST_CASE(another_key_is_another_hash) {
    BOOST_TEST(slot::sip_hash({1, 2}, 3, 4, 5) != slot::sip_hash({1, 3}, 3, 4, 5));
    BOOST_TEST(slot::sip_hash({1, 2}, 3, 4, 5) != slot::sip_hash({2, 2}, 3, 4, 5));
}

BOOST_AUTO_TEST_SUITE_END()
