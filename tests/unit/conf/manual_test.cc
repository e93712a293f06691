#include "conf/manual.h"

#include <boost/test/unit_test.hpp>

#include "conf/grammar.h"

using namespace tcpd::conf;

BOOST_AUTO_TEST_SUITE(manual)

BOOST_AUTO_TEST_CASE(every_key_has_its_paragraph) {
    const std::string text = manual_keys();
    for (const Row& row : grammar()) {
        BOOST_TEST(text.find(".TP\n\\fB" + std::string(row.path) + "\\fR (") != std::string::npos, row.path);
    }
}

BOOST_AUTO_TEST_CASE(defaults_and_kinds_are_those_of_the_grammar) {
    const std::string text = manual_keys();
    for (const char* line :
         {"\\fBdrain.stop\\fR (a duration, or 0; default 30s)\n",
          "\\fBlisteners.NAME.backlog\\fR (a number from 1 to 65535; default 4096)\n",
          "\\fBworkers\\fR (a number from 1 to 256, or auto; default auto)\n", "\\fBuser\\fR (a name)\n",
          "\\fBlisteners.NAME.listen\\fR (an address or a list; required)\n"}) {
        BOOST_TEST(text.find(line) != std::string::npos, line);
    }
}

BOOST_AUTO_TEST_CASE(no_line_is_a_request_but_ours) {
    const std::string text = manual_keys();
    for (size_t at = text.find("\n."); at != std::string::npos; at = text.find("\n.", at + 1)) {
        BOOST_TEST(text.substr(at + 1, 4) == ".TP\n");
    }
}

BOOST_AUTO_TEST_SUITE_END()
