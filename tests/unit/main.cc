#define BOOST_TEST_MODULE tcpd
#define BOOST_TEST_NO_MAIN
#include <boost/test/unit_test.hpp>
#include <string_view>

#include "daemon/base/process.h"
#include "daemon/slot/control_message.h"
#include "tests/unit/master/stand_in_image.h"

// Its own main, so that the tests of process titles have an argv to write over.
int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == tcpd::slot::kImageFlag) return tcpd::test::stand_in_image();
    tcpd::keep_argv(argc, argv);
    return boost::unit_test::unit_test_main(&init_unit_test, argc, argv);
}
