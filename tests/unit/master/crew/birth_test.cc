#include "master/crew/birth.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "daemon/base/signals.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/control_message.h"
#include "tests/unit/folder.h"
#include "tests/unit/master/stand_in_image.h"

using namespace tcpd;
using namespace tcpd::master;

namespace {

ino_t inode_of(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

ino_t inode_of(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
}

UniqueFd memory(const char* name) { return UniqueFd(::memfd_create(name, MFD_CLOEXEC)); }

// An image that is the stand-in, executed with descriptors whose numbers are anything but what it is to find.
struct Nursery {
    UniqueFd program{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
    UniqueFd control, slot_end;
    std::vector<UniqueFd> files;
    Inheritance given;
    pid_t pid = 0;

    Nursery() {
        int ends[2];
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        control.reset(ends[0]);
        slot_end.reset(ends[1]);
        for (int i = 0; i < 9; ++i) files.push_back(memory("tcpd-test"));
    }
    ~Nursery() {
        if (pid == 0) return;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
    }
    // In ascending order the sources stand where later targets are.
    void give_backwards() {
        given.control = slot_end.get();
        given.log = files[0].get();
        given.bundle = files[1].get();
        given.counts = files[2].get();
        given.board = files[3].get();
        given.addresses = files[4].get();
        given.buffers = files[5].get();
        for (size_t i = 6; i < files.size(); ++i)
            given.listeners.insert(given.listeners.begin(), files[i].get());
    }
    void execute() {
        auto born = execute_image(program.get(), "tcpd: standby 3", given);
        BOOST_REQUIRE_MESSAGE(born, (born ? "" : born.error().text()));
        pid = *born;
        slot_end.reset();
    }
    std::string of_process(const std::string& what) const {
        return "/proc/" + std::to_string(pid) + "/" + what;
    }
    std::map<std::string, std::string> status() const {
        std::ifstream file(of_process("status"));
        std::map<std::string, std::string> fields;
        for (std::string key, value; std::getline(file, key, ':') && std::getline(file >> std::ws, value);) {
            fields[key] = value;
        }
        return fields;
    }
    int wait_exit() {
        int result = 0;
        ::waitpid(pid, &result, 0);
        pid = 0;
        return WIFEXITED(result) ? WEXITSTATUS(result) : -1;
    }
};

bool has_signal(const std::string& mask, int number) {
    return (std::stoull(mask, nullptr, 16) >> (number - 1) & 1) != 0;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(birth)

BOOST_AUTO_TEST_CASE(the_plan_is_the_stated_list) {
    const std::vector<DescriptorMove> expected = {
        {20, slot::kControlFd}, {21, slot::kBoardFd},       {22, slot::kCountsFd},
        {23, slot::kBundleFd},  {24, slot::kLogFd},         {25, slot::kAddressesFd},
        {26, slot::kBuffersFd}, {30, slot::kFirstListenFd}, {31, slot::kFirstListenFd + 1}};
    BOOST_TEST((plan_descriptors({20, 21, 26, 22, 23, 24, 25, {30, 31}}) == expected));
}

BOOST_AUTO_TEST_CASE(an_image_finds_its_descriptors_whatever_numbers_they_had) {
    Nursery nursery;
    nursery.give_backwards();
    const ino_t control = inode_of(nursery.slot_end.get());
    nursery.execute();
    const auto found = [&](int number) {
        return inode_of(nursery.of_process("fd/" + std::to_string(number)));
    };
    BOOST_TEST(found(slot::kControlFd) == control);
    BOOST_TEST(found(slot::kBoardFd) == inode_of(nursery.given.board));
    BOOST_TEST(found(slot::kCountsFd) == inode_of(nursery.given.counts));
    BOOST_TEST(found(slot::kBundleFd) == inode_of(nursery.given.bundle));
    BOOST_TEST(found(slot::kLogFd) == inode_of(nursery.given.log));
    BOOST_TEST(found(slot::kAddressesFd) == inode_of(nursery.given.addresses));
    BOOST_TEST(found(slot::kBuffersFd) == inode_of(nursery.given.buffers));
    int number = slot::kFirstListenFd;
    for (const int listener : nursery.given.listeners) BOOST_TEST(found(number++) == inode_of(listener));
}

BOOST_AUTO_TEST_CASE(nothing_else_is_handed_on) {
    Nursery nursery;
    nursery.give_backwards();
    const UniqueFd stray(::dup(nursery.files[0].get()));  // not close-on-exec
    nursery.execute();
    const ino_t left_out = inode_of(stray.get());
    const int end = slot::kFirstListenFd + static_cast<int>(nursery.given.listeners.size());
    for (const auto& entry : std::filesystem::directory_iterator(nursery.of_process("fd"))) {
        const int number = std::stoi(entry.path().filename());  // it may open files of its own meanwhile
        const bool is_given = number < slot::kFirstOwnFd || (number >= slot::kFirstListenFd && number < end);
        BOOST_TEST((is_given || inode_of(entry.path().string()) != left_out), number);
    }
}

BOOST_AUTO_TEST_CASE(one_file_may_stand_for_several) {
    Nursery nursery;
    const int same = nursery.files[0].get();
    nursery.given = {nursery.slot_end.get(), same, same, same, same, same, same, {same}};
    nursery.execute();
    BOOST_TEST(inode_of(nursery.of_process("fd/128")) == inode_of(same));
    BOOST_TEST(inode_of(nursery.of_process("fd/4")) == inode_of(same));
}

BOOST_AUTO_TEST_CASE(an_image_starts_with_no_signal_blocked_and_those_ignored_that_images_ignore) {
    Nursery nursery;
    nursery.give_backwards();
    sigset_t blocked, before;
    ::sigemptyset(&blocked);
    ::sigaddset(&blocked, SIGUSR1);
    ::sigprocmask(SIG_BLOCK, &blocked, &before);
    const auto old = ::signal(SIGALRM, SIG_IGN);
    nursery.execute();
    ::signal(SIGALRM, old);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    auto status = nursery.status();
    BOOST_TEST(status["SigBlk"] == "0000000000000000");
    for (const int number : kImageIgnores) {
        BOOST_TEST(has_signal(status["SigIgn"], number), "signal " << number);
    }
    BOOST_TEST(!has_signal(status["SigIgn"], SIGALRM));
}

BOOST_AUTO_TEST_CASE(the_caller_keeps_its_signals) {
    Nursery nursery;
    nursery.give_backwards();
    sigset_t mine, after;
    ::sigemptyset(&mine);
    ::sigaddset(&mine, SIGUSR1);
    ::sigprocmask(SIG_SETMASK, &mine, nullptr);
    nursery.execute();
    ::sigemptyset(&mine);
    ::sigprocmask(SIG_SETMASK, &mine, &after);
    for (int number = 1; number < 32; ++number) {
        BOOST_TEST(::sigismember(&after, number) == (number == SIGUSR1 ? 1 : 0), "signal " << number);
    }
}

BOOST_AUTO_TEST_CASE(an_image_is_titled_and_ends_with_its_control_socket) {
    Nursery nursery;
    nursery.give_backwards();
    nursery.execute();
    std::ostringstream line;
    line << std::ifstream(nursery.of_process("cmdline")).rdbuf();
    BOOST_TEST(line.str() == std::string("tcpd: standby 3\0--image\0", 24));
    nursery.control.reset();
    BOOST_TEST(nursery.wait_exit() == test::kStandInExit);
}

BOOST_AUTO_TEST_CASE(a_program_that_is_none_is_an_error_and_leaves_no_child) {
    const test::Folder folder;
    std::ofstream(folder / "text") << "no program";
    std::filesystem::permissions(folder / "text", std::filesystem::perms::owner_all);
    Nursery nursery;
    nursery.give_backwards();
    nursery.program.reset(::open((folder / "text").c_str(), O_RDONLY | O_CLOEXEC));
    auto born = execute_image(nursery.program.get(), "tcpd: standby 0", nursery.given);
    BOOST_REQUIRE(!born);
    BOOST_TEST(born.error().text() == "could not execute an image: Exec format error");
    BOOST_TEST(::waitpid(-1, nullptr, WNOHANG) == -1);
    BOOST_TEST(errno == ECHILD);
}

BOOST_AUTO_TEST_CASE(a_descriptor_that_is_closed_is_an_error) {
    Nursery nursery;
    nursery.give_backwards();
    nursery.given.bundle = 9'999;
    auto born = execute_image(nursery.program.get(), "tcpd: standby 0", nursery.given);
    BOOST_REQUIRE(!born);
    BOOST_TEST(born.error().text() == "could not lay out an image's descriptors: Bad file descriptor");
}

BOOST_AUTO_TEST_SUITE_END()
