// Whoever owned the folder of the pid file put a second name of another file in its place, or a link in the place of the
// folder, and the next start of a master that is root emptied that file or made one there; -t found nothing wrong.

#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/conditions.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;
namespace fs = std::filesystem;

namespace {

struct Place {
    TempDir folder;
    Place() { fs::create_directory(folder / "theirs"); }
    void check_refused(const std::string& pid_file, const std::string& why) const {
        const std::string file = folder.write(
            "tcpd.yaml", "pid_file: " + pid_file +
                             "\nworkers: 1\nlisteners: {it: {listen: 127.0.0.1:0, handler: echo}}\n");
        const Output looked = run({tested_program(), "-t", "-c", file});
        BOOST_TEST(looked.exit == 78);
        BOOST_TEST(looked.err.find(why) != std::string::npos, looked.err);
        const Output started = run({tested_program(), "-c", file});
        BOOST_TEST(started.exit == 71);
        BOOST_TEST(started.err.find(why) != std::string::npos, started.err);
    }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(hard_link_in_place_of_pid_file, Place)

BOOST_AUTO_TEST_CASE(the_file_behind_it_keeps_its_content) {
    std::ofstream(folder / "victim") << "1\n";
    fs::create_hard_link(folder / "victim", folder / "theirs/pid");
    check_refused(folder / "theirs/pid", "it has another name as well");
    BOOST_TEST(read_text(folder / "victim") == "1\n");
}

BOOST_AUTO_TEST_CASE(a_fifo_is_called_one) {
    BOOST_REQUIRE(::mkfifo((folder / "theirs/pid").c_str(), 0600) == 0);
    check_refused(folder / "theirs/pid", "it is no regular file");
}

BOOST_AUTO_TEST_CASE(a_file_that_holds_more_than_a_pid_keeps_it) {
    std::ofstream(folder / "theirs/pid") << std::string(100, 'x');
    check_refused(folder / "theirs/pid", "it is no pid file: it has 100 bytes in it");
    BOOST_TEST(fs::file_size(folder / "theirs/pid") == 100U);
}

BOOST_AUTO_TEST_CASE(no_link_to_a_folder_is_followed, *boost::unit_test::precondition(is_root)) {
    BOOST_REQUIRE(::chown((folder / "theirs").c_str(), 65534, 65534) == 0);
    fs::create_directory(folder / "real");
    fs::create_directory_symlink(folder / "real", folder / "theirs/link");
    check_refused(folder / "theirs/link/pid", "is a symbolic link in a folder that others may write");
    BOOST_TEST(fs::is_empty(folder / "real"));
}

BOOST_AUTO_TEST_SUITE_END()
