// Whoever owns the folder of a unix socket put a link in its place, and the next reload of a master that is root gave
// him the file behind it.

#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

BOOST_AUTO_TEST_SUITE(link_in_place_of_socket)

BOOST_AUTO_TEST_CASE(the_file_behind_it_stays_whose_it_is) {
    const TempDir folder;
    std::ofstream(folder / "victim") << "root alone reads this\n";
    std::filesystem::permissions(folder / "victim", std::filesystem::perms(0600));
    TestDaemon daemon("workers: 1\nlisteners: {it: {listen: 'unix:" + (folder / "s") +
                      "', unix: {mode: \"0666\"}, handler: echo}}\n");
    std::filesystem::remove(folder / "s");
    std::filesystem::create_symlink(folder / "victim", folder / "s");
    const Output reloaded = daemon.verb("reload");
    BOOST_TEST(reloaded.exit != 0);
    BOOST_TEST(reloaded.err.find("it is a symbolic link") != std::string::npos, reloaded.err);
    struct stat status {};
    BOOST_REQUIRE(::stat((folder / "victim").c_str(), &status) == 0);
    BOOST_TEST((status.st_mode & 07777) == 0600U);
}

BOOST_AUTO_TEST_SUITE_END()
