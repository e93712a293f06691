#include "tests/unit/kept/kept_state.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>

using namespace tcpd::master;

BOOST_AUTO_TEST_SUITE(state)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
    const std::string bytes = encode(state_to_keep());
    const auto read = decode(bytes);
    BOOST_REQUIRE(read);
    BOOST_TEST(encode(*read) == bytes);
    BOOST_TEST(read->program_path == "/usr/sbin/tcpd");
    BOOST_TEST(read->has_log_level);
    BOOST_TEST(read->clients.at(0).unsent.at(0) == "some");
    BOOST_TEST(read->clients.at(0).asked);
    BOOST_TEST(!read->clients.at(1).asked);
    BOOST_TEST(read->addresses.at(0).sockets.at(1) == -1);
    BOOST_TEST(read->addresses.at(0).group_row == 5U);
    BOOST_TEST(read->group_tables.at(0).rows == 16U);
    BOOST_TEST(read->inherited.at(0).name == "web");
    BOOST_TEST(read->crew.generations.at(0).roster.at(0).name == "echo");
}

BOOST_AUTO_TEST_CASE(every_descriptor_in_it_is_kept_open) {
    std::vector<int> kept = descriptors_of(state_to_keep());
    std::sort(kept.begin(), kept.end());
    kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
    std::vector<int> expected;
    for (int fd = 11; fd <= 29; ++fd) expected.push_back(fd);
    BOOST_TEST(kept == expected);
}

BOOST_AUTO_TEST_CASE(what_is_cut_or_longer_is_refused) {
    const std::string bytes = encode(state_to_keep());
    for (size_t length = 0; length < bytes.size(); ++length) {
        BOOST_TEST(!decode(std::string_view(bytes).substr(0, length)), length);
    }
    BOOST_TEST(!decode(bytes + '\0'));
}

// Nothing to rely on is left of them, but the program that reads them goes on.
BOOST_AUTO_TEST_CASE(false_bytes_do_no_harm) {
    const std::string bytes = encode(state_to_keep());
    for (size_t at = 0; at < bytes.size(); ++at) {
        std::string spoilt = bytes;
        spoilt[at] = static_cast<char>(spoilt[at] ^ 0xFF);
        (void)decode(spoilt);
    }
}

BOOST_AUTO_TEST_CASE(another_format_is_named) {
    std::string bytes = encode(state_to_keep());
    ++bytes[8];
    const auto read = decode(bytes);
    BOOST_REQUIRE(!read);
    BOOST_TEST(read.error().text().find("not of format 4") != std::string::npos);
}

// A later version keeps open what this one knows nothing of.
BOOST_AUTO_TEST_CASE(descriptors_that_only_the_other_version_knows_are_named) {
    auto read = decode(encode(state_to_keep()));
    BOOST_REQUIRE(read);
    BOOST_TEST(unknown_descriptors(*read).empty());
    read->descriptors.push_back(99);
    read->descriptors.push_back(2);
    BOOST_TEST(unknown_descriptors(*read) == std::vector<int>{99});
}

BOOST_AUTO_TEST_SUITE_END()
