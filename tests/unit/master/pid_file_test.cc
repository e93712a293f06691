#include "master/pid_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/folder.h"
#include "tests/unit/in_child.h"

using namespace tcpd;
using namespace tcpd::master;
using tcpd::test::Folder;

namespace {

std::string text_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

PidFile lock_file(const std::string& path) {
    auto locked = PidFile::lock(path);
    BOOST_REQUIRE_MESSAGE(locked, (locked ? "" : locked.error().text()));
    return std::move(*locked);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pid_file)

BOOST_AUTO_TEST_CASE(it_is_empty_until_it_is_published_and_gone_in_the_end) {
    const Folder folder;
    {
        PidFile file = lock_file(folder / "pid");
        BOOST_TEST(text_of(folder / "pid") == "");
        BOOST_REQUIRE(file.publish());
        BOOST_TEST(text_of(folder / "pid") == std::to_string(::getpid()) + "\n");
    }
    BOOST_TEST(!std::filesystem::exists(folder / "pid"));
}

// Who may read the file that a dead master left can lock it, but keeps no new one from starting.
BOOST_AUTO_TEST_CASE(a_reader_of_a_stale_file_is_no_second_instance) {
    const Folder folder;
    folder.write("pid", "1\n");
    const UniqueFd read(::open((folder / "pid").c_str(), O_RDONLY | O_CLOEXEC));
    struct flock lock {};
    lock.l_type = F_RDLCK;
    BOOST_REQUIRE(::fcntl(read.get(), F_SETLK, &lock) == 0);
    BOOST_TEST(test::holds_in_child([&] { return bool(PidFile::lock(folder / "pid")); }));
    PidFile file = [&] {
        std::filesystem::remove(folder / "pid");
        return lock_file(folder / "pid");
    }();
    BOOST_TEST(!test::holds_in_child([&] { return bool(PidFile::lock(folder / "pid")); }));
}

BOOST_AUTO_TEST_CASE(a_second_instance_is_refused_by_name) {
    const Folder folder;
    const pid_t holder = ::getpid();
    PidFile file = lock_file(folder / "pid");
    BOOST_REQUIRE(file.publish());
    const bool refused = test::holds_in_child([&] {
        auto second = PidFile::lock(folder / "pid");
        return !second && second.error().code == ErrorCode::in_use &&
               second.error().text().find("pid " + std::to_string(holder)) != std::string::npos;
    });
    BOOST_TEST(refused);
    BOOST_TEST(text_of(folder / "pid") == std::to_string(holder) + "\n");
}

BOOST_AUTO_TEST_CASE(a_stale_file_is_taken_over_and_its_pid_not_shown) {
    const Folder folder;
    std::ofstream(folder / "pid") << "12345678\n";
    PidFile file = lock_file(folder / "pid");
    BOOST_TEST(text_of(folder / "pid") == "");
}

BOOST_AUTO_TEST_CASE(a_file_that_another_put_there_is_not_removed) {
    const Folder folder;
    {
        PidFile file = lock_file(folder / "pid");
        std::filesystem::remove(folder / "pid");
        std::ofstream(folder / "pid") << "1\n";
    }
    BOOST_TEST(text_of(folder / "pid") == "1\n");
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_not_there_is_an_error) {
    const Folder folder;
    auto file = PidFile::lock(folder / "no/pid");
    BOOST_REQUIRE(!file);
    BOOST_TEST((file.error().code == ErrorCode::not_found));
}

BOOST_AUTO_TEST_CASE(a_symbolic_link_is_not_followed) {
    const Folder folder;
    std::filesystem::create_symlink(folder / "elsewhere", folder / "pid");
    BOOST_TEST(!PidFile::lock(folder / "pid"));
    BOOST_TEST(!std::filesystem::exists(folder / "elsewhere"));
}

BOOST_AUTO_TEST_SUITE_END()
