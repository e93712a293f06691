#include "daemon/help.h"

#include <boost/test/unit_test.hpp>
#include <sstream>

#include "daemon/command_line.h"

using namespace tcpd;

BOOST_AUTO_TEST_SUITE(help)

BOOST_AUTO_TEST_CASE(no_line_is_wider_than_a_terminal) {
    std::istringstream text(help_text());
    for (std::string line; std::getline(text, line);) BOOST_TEST(line.size() <= 80U, line);
    BOOST_TEST(help_text().ends_with(".\n"));
}

BOOST_AUTO_TEST_CASE(every_verb_is_in_it) {
    for (const std::string_view verb : request_verbs()) {
        const std::string row = "\n" + std::string(23, ' ') + std::string(verb) + "  ";
        BOOST_TEST(help_text().find(row) != std::string::npos, verb);
    }
}

BOOST_AUTO_TEST_SUITE_END()
