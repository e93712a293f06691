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

// The file behind a second name is another's.
BOOST_AUTO_TEST_CASE(what_is_no_pid_file_is_not_emptied) {
    const Folder folder;
    folder.write("precious", "1\n");
    const auto why = [&](const char* name) {
        const auto locked = PidFile::lock(folder / name);
        return locked ? "" : locked.error().text();
    };
    std::filesystem::create_hard_link(folder / "precious", folder / "second");
    BOOST_TEST(why("second").find("it has another name as well, a hard link") != std::string::npos);
    BOOST_TEST(text_of(folder / "precious") == "1\n");
    folder.write("tcpd.yaml", "listeners: {a: {listen: 127.0.0.1:7000, handler: echo}}\n");
    BOOST_TEST(why("tcpd.yaml").find("it is no pid file: it has 56 bytes in it") != std::string::npos);
    BOOST_TEST(text_of(folder / "tcpd.yaml").size() == 56U);
    BOOST_REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    BOOST_TEST(why("fifo").find("it is no regular file") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(in_a_folder_of_others_nothing_of_theirs_is_taken) {
    if (::geteuid() != 0) return;
    const Folder folder;
    std::filesystem::create_directory(folder / "theirs");
    BOOST_REQUIRE(::chown((folder / "theirs").c_str(), 65534, 65534) == 0);
    folder.write("theirs/pid", "1\n");
    BOOST_REQUIRE(::chown((folder / "theirs/pid").c_str(), 65534, 65534) == 0);
    const auto refused = PidFile::lock(folder / "theirs/pid");
    BOOST_REQUIRE(!refused);
    BOOST_TEST(refused.error().text().find("it belongs to user 65534, and others may write its folder") !=
               std::string::npos);
    std::filesystem::create_directory(folder / "real");
    std::filesystem::create_directory_symlink(folder / "real", folder / "theirs/link");
    BOOST_TEST(!PidFile::lock(folder / "theirs/link/pid"));
    BOOST_TEST(!std::filesystem::exists(folder / "real/pid"));
}

BOOST_AUTO_TEST_CASE(one_that_is_gone_or_anothers_is_made_and_locked_anew) {
    const Folder folder;
    PidFile file = lock_file(folder / "pid");
    BOOST_REQUIRE(file.publish());
    const std::string line = std::to_string(::getpid()) + "\n";
    const auto is_locked = [&] {
        return !test::holds_in_child([&] { return bool(PidFile::lock(folder / "pid")); });
    };
    auto done = file.restore();
    BOOST_TEST((done && !*done));
    BOOST_TEST(is_locked());
    std::filesystem::remove(folder / "pid");
    done = file.restore();
    BOOST_TEST((done && *done));
    BOOST_TEST(is_locked());
    BOOST_TEST(text_of(folder / "pid") == line);  // which drops the lock
    folder.write("other", "1\n");
    std::filesystem::rename(folder / "other", folder / "pid");
    done = file.restore();
    BOOST_TEST((done && *done));
    BOOST_TEST(is_locked());
    BOOST_TEST(text_of(folder / "pid") == line);  // which drops the lock
}

BOOST_AUTO_TEST_CASE(what_can_not_be_made_anew_is_kept) {
    const Folder folder;
    const UniqueFd held(::open((folder / "held").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    BOOST_REQUIRE(::fcntl(held.get(), F_SETLK, &lock) == 0);
    BOOST_TEST(test::holds_in_child([&] {
        PidFile file = lock_file(folder / "pid");
        std::filesystem::rename(folder / "pid", folder / "away");
        std::filesystem::rename(folder / "held", folder / "pid");
        const auto refused = file.restore();
        if (refused || refused.error().code != ErrorCode::in_use) return false;
        std::filesystem::rename(folder / "away", folder / "pid");
        const auto back = file.restore();
        return back && !*back && !test::holds_in_child([&] { return bool(PidFile::lock(folder / "pid")); });
    }));
}

BOOST_AUTO_TEST_SUITE_END()
