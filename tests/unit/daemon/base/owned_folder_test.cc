// Files in folders that others may write.

#include "daemon/base/owned_folder.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "daemon/base/net/address.h"

using namespace tcpd;

namespace {

struct Folders {
    Folders() {
        char path[] = "/tmp/tcpd-owned-XXXXXX";
        BOOST_REQUIRE(::mkdtemp(path) != nullptr);
        top = path;
        for (const char* name : {"/ours", "/theirs"}) std::filesystem::create_directory(top + name);
        std::filesystem::permissions(top + "/theirs", std::filesystem::perms(0777));
        std::ofstream(top + "/victim") << "root's\n";
    }
    ~Folders() { std::filesystem::remove_all(top); }
    std::string why(const std::string& path) { return whole_why(top + path); }
    std::string whole_why(const std::string& path) {
        const auto opened = open_to_append(path, 0640);
        return opened ? "" : opened.error().text();
    }
    std::string top;
};

boost::test_tools::assertion_result as_root(boost::unit_test::test_unit_id) { return ::geteuid() == 0; }

}  // namespace

BOOST_FIXTURE_TEST_SUITE(owned_folder, Folders)

BOOST_AUTO_TEST_CASE(a_file_is_made_and_opened_again) {
    for (const char* path : {"/ours/log", "/theirs/log", "/ours/log", "/theirs/log"})
        BOOST_TEST(why(path) == "");
    const auto opened = open_to_append(top + "/ours/log", 0640);
    BOOST_REQUIRE(opened);
    BOOST_TEST(::write(opened->get(), "x", 1) == 1);
}

// In a folder of others a link may lead to any file, and so may a second name.
BOOST_AUTO_TEST_CASE(no_link_is_followed_where_others_may_write) {
    std::filesystem::create_symlink(top + "/victim", top + "/theirs/link");
    BOOST_TEST(why("/theirs/link").find("it is a symbolic link in a folder that others may write") !=
               std::string::npos);
    std::filesystem::create_hard_link(top + "/victim", top + "/theirs/second");
    BOOST_TEST(why("/theirs/second").find("it has another name as well") != std::string::npos);
    std::filesystem::create_directory(top + "/theirs/real");
    std::filesystem::create_directory_symlink(top + "/ours", top + "/theirs/folder");
    BOOST_TEST(why("/theirs/real/log") == "");
    BOOST_TEST(why("/theirs/folder/log").find("could not open the folder") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(no_other_kind_of_file_is_waited_for) {
    BOOST_REQUIRE(::mkfifo((top + "/ours/fifo").c_str(), 0600) == 0);
    BOOST_TEST(why("/ours/fifo").find("it is no regular file") != std::string::npos);
    const UniqueFd reader(::open((top + "/ours/fifo").c_str(), O_RDONLY | O_NONBLOCK));
    BOOST_TEST(why("/ours/fifo").find("it is no regular file") != std::string::npos);
    BOOST_TEST(why("/ours").find("Is a directory") != std::string::npos);
    BOOST_TEST(bool(open_to_append("/dev/null", 0640)));
}

BOOST_AUTO_TEST_CASE(a_socket_is_the_one_that_was_bound) {
    const Address address = *Address::parse("unix:" + top + "/theirs/s", false);
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(::bind(socket.get(), address.get(), address.length()) == 0);
    struct stat status {};
    BOOST_REQUIRE(::lstat(address.path().c_str(), &status) == 0);
    const FileId id = id_of(status);
    const auto place = FilePlace::find(address.path());
    BOOST_REQUIRE(place);
    BOOST_TEST(bool(open_socket_file(*place, id)));
    BOOST_TEST(!open_socket_file(*place, {id.device, id.inode + 1}));
    std::filesystem::remove(address.path());
    std::filesystem::create_symlink(top + "/victim", address.path());
    BOOST_TEST(!open_socket_file(*place, id));
    place->remove(id);
    BOOST_TEST(std::filesystem::is_symlink(address.path()));
    std::filesystem::remove(address.path());
    BOOST_TEST(!open_socket_file(*place, id));
}

// A link of root's may lead through a folder of others, who put a link of their own there.
BOOST_AUTO_TEST_CASE(a_link_that_may_be_followed_is_walked_itself, *boost::unit_test::precondition(as_root)) {
    // In /tmp nothing is ours alone.
    const std::string ours = "/var/lib/tcpd-owned-" + std::to_string(::getpid());
    std::filesystem::create_directory(ours);
    std::filesystem::create_directory_symlink(top + "/theirs/way", ours + "/link");
    std::filesystem::create_directory_symlink(top + "/ours", top + "/theirs/way");
    BOOST_TEST(whole_why(ours + "/link/log").find("/theirs/way\" is a symbolic link in a folder") !=
               std::string::npos);
    std::filesystem::remove(top + "/theirs/way");
    std::filesystem::create_directory(top + "/theirs/way");
    BOOST_TEST(whole_why(ours + "/link/log") == "");
    std::filesystem::create_symlink("real/../real/./log", ours + "/log");
    BOOST_TEST(whole_why(ours + "/log").find("No such file") != std::string::npos);
    std::filesystem::create_directory(ours + "/real");
    BOOST_TEST(whole_why(ours + "/log") == "");
    BOOST_TEST(std::filesystem::exists(ours + "/real/log"));
    std::filesystem::create_symlink("round", ours + "/round");
    BOOST_TEST(whole_why(ours + "/round").find("Too many levels") != std::string::npos);
    std::filesystem::remove_all(ours);
}

BOOST_AUTO_TEST_CASE(what_a_process_has_open_is_appended_to_by_its_name_in_dev) {
    const UniqueFd file(::open((top + "/ours/open").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    BOOST_TEST(whole_why("/dev/fd/" + std::to_string(file.get())) == "");
    BOOST_REQUIRE(::mkfifo(("/dev/shm/tcpd-" + std::to_string(::getpid())).c_str(), 0600) == 0);
    BOOST_TEST(whole_why("/dev/shm/tcpd-" + std::to_string(::getpid())).find("it is no regular file") !=
               std::string::npos);
    std::filesystem::remove("/dev/shm/tcpd-" + std::to_string(::getpid()));
}

BOOST_AUTO_TEST_CASE(root_reads_through_no_link_of_others, *boost::unit_test::precondition(as_root)) {
    const auto why_not = [&](const std::string& path) {
        const auto opened = open_to_read(top + path);
        return opened ? "" : opened.error().text();
    };
    BOOST_TEST(why_not("/victim") == "");
    std::filesystem::create_symlink(top + "/victim", top + "/theirs/link");
    BOOST_TEST(why_not("/theirs/link").find("is a symbolic link in a folder that others may write") !=
               std::string::npos);
    BOOST_REQUIRE(::chown((top + "/theirs").c_str(), 65534, 65534) == 0);
    std::filesystem::create_hard_link(top + "/victim", top + "/theirs/second");
    BOOST_TEST(why_not("/theirs/second").find("it has another name as well") != std::string::npos);
    BOOST_REQUIRE(::chown((top + "/victim").c_str(), 65534, 65534) == 0);
    BOOST_TEST(why_not("/theirs/second") == "");
    for (const char* odd : {"/ours", "/theirs/fifo"}) {
        (void)::mkfifo((top + odd).c_str(), 0600);
        BOOST_TEST(why_not(odd).find("it is not a regular file") != std::string::npos);
    }
    BOOST_TEST(!open_to_read("/dev/null"));
}

BOOST_AUTO_TEST_SUITE_END()
