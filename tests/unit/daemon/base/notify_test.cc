#include "daemon/base/notify.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "daemon/base/clock.h"
#include "tests/unit/in_child.h"

using namespace tcpd;

namespace {

// A service manager's end, under an abstract name or a path.
struct Manager {
    explicit Manager(const std::string& name_)
        : name(name_), socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path, name.data(), name.size());
        if (name[0] == '@') address.sun_path[0] = '\0';
        auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
        BOOST_REQUIRE(bind(socket.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
        setenv("NOTIFY_SOCKET", name.c_str(), 1);
    }
    ~Manager() {
        if (name[0] == '/') unlink(name.c_str());
    }
    std::string receive() const {
        char text[512];
        ssize_t bytes = recv(socket.get(), text, sizeof text, MSG_DONTWAIT);
        return bytes < 0 ? "nothing" : std::string(text, static_cast<size_t>(bytes));
    }
    std::string name;
    UniqueFd socket;
};

std::string unique_name(const char* prefix) {
    return prefix + std::string("tcpd-notify-") + std::to_string(getpid());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(notify)

BOOST_AUTO_TEST_CASE(a_manager_hears_of_all_that_happens) {
    for (const char* prefix : {"@", "/tmp/"}) {
        Manager manager(unique_name(prefix));
        Result<ServiceManager> us = ServiceManager::from_environment(-1);
        BOOST_REQUIRE(us);
        BOOST_TEST(us->is_there());
        BOOST_TEST(!getenv("NOTIFY_SOCKET"));
        us->ready("2 workers,\n1 listener");
        BOOST_TEST(manager.receive() == "READY=1\nSTATUS=2 workers, 1 listener\n");
        us->stopping("draining");
        BOOST_TEST(manager.receive() == "STOPPING=1\nSTATUS=draining\n");
        BOOST_TEST(manager.receive() == "nothing");
    }
}

BOOST_AUTO_TEST_CASE(a_reload_begins_with_its_time_and_ends_with_ready) {
    Manager manager(unique_name("@"));
    Result<ServiceManager> us = ServiceManager::from_environment(-1);
    BOOST_REQUIRE(us);
    const uint64_t before = monotonic_ns() / 1000;
    us->reloading("reloading");
    const std::string message = manager.receive();
    const std::string begin = "RELOADING=1\nMONOTONIC_USEC=";
    BOOST_REQUIRE(message.starts_with(begin));
    BOOST_TEST(std::stoull(message.substr(begin.size())) >= before);
    BOOST_TEST(message.ends_with("\nSTATUS=reloading\n"));
    us->ready("reloading");
    BOOST_TEST(manager.receive() == "READY=1\n");
}

BOOST_AUTO_TEST_CASE(a_report_holds_what_is_new_and_what_is_due) {
    Manager manager(unique_name("@"));
    setenv("WATCHDOG_USEC", "2000000", 1);
    setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
    Result<ServiceManager> us = ServiceManager::from_environment(-1);
    BOOST_REQUIRE(us);
    BOOST_TEST(!getenv("WATCHDOG_USEC"));
    BOOST_TEST(!getenv("WATCHDOG_PID"));
    BOOST_TEST(us->next_report_ns() == 0U);
    us->report(1000, "serving", false);
    BOOST_TEST(manager.receive() == "WATCHDOG=1\nSTATUS=serving\n");
    BOOST_TEST(us->next_report_ns() == 1'000'001'000U);
    us->report(2000, "serving", true);
    BOOST_TEST(manager.receive() == "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=20000000\n");
    us->show_environment();
    BOOST_TEST(getenv("WATCHDOG_USEC") == std::string("2000000"));
    us->hide_environment();
    BOOST_TEST(!getenv("WATCHDOG_USEC"));
}

BOOST_AUTO_TEST_CASE(the_watchdog_of_another_process_is_none_of_ours) {
    Manager manager(unique_name("@"));
    setenv("WATCHDOG_USEC", "2000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    Result<ServiceManager> us = ServiceManager::from_environment(-1);
    BOOST_REQUIRE(us);
    us->report(0, "serving", false);
    BOOST_TEST(manager.receive() == "STATUS=serving\n");
    us->report(0, "serving", false);
    BOOST_TEST(manager.receive() == "nothing");
    setenv("WATCHDOG_USEC", "soon", 1);
    BOOST_TEST(!ServiceManager::from_environment(-1));
}

BOOST_AUTO_TEST_CASE(without_a_manager_nothing_happens) {
    unsetenv("NOTIFY_SOCKET");
    Result<ServiceManager> us = ServiceManager::from_environment(-1);
    BOOST_REQUIRE(us);
    BOOST_TEST(!us->is_there());
    us->ready("x");
    us->stopping("x");
    BOOST_TEST(us->next_report_ns() == std::numeric_limits<uint64_t>::max());
}

BOOST_AUTO_TEST_CASE(a_socket_of_another_sort_is_refused) {
    for (const std::string& name :
         {std::string("vsock:2:1"), std::string("run/x"), std::string("@"), "/" + std::string(107, 'x')}) {
        setenv("NOTIFY_SOCKET", name.c_str(), 1);
        BOOST_TEST(!ServiceManager::from_environment(-1), name);
        BOOST_TEST(!getenv("NOTIFY_SOCKET"));
    }
}

BOOST_AUTO_TEST_CASE(the_descriptor_gets_one_newline_and_is_closed) {
    unsetenv("NOTIFY_SOCKET");
    int ends[2];
    BOOST_REQUIRE(pipe(ends) == 0);
    UniqueFd reading(ends[0]);
    Result<ServiceManager> us = ServiceManager::from_environment(ends[1]);
    BOOST_REQUIRE(us);
    BOOST_TEST((fcntl(ends[1], F_GETFD) & FD_CLOEXEC) != 0);
    us->ready("x");
    us->ready("x");
    char text[8];
    BOOST_TEST(read(reading.get(), text, sizeof text) == 1);
    BOOST_TEST(text[0] == '\n');
    BOOST_TEST(read(reading.get(), text, sizeof text) == 0);
}

BOOST_AUTO_TEST_CASE(standard_output_stays_open) {
    BOOST_TEST(test::holds_in_child([] {
        int ends[2];
        if (pipe(ends) != 0 || dup2(ends[1], 1) != 1) return false;
        Result<ServiceManager> us = ServiceManager::from_environment(1);
        if (!us) return false;
        us->ready("x");
        char byte = 0;
        return read(ends[0], &byte, 1) == 1 && byte == '\n' && fcntl(1, F_GETFD) == 0;
    }));
}

BOOST_AUTO_TEST_CASE(a_descriptor_that_can_not_be_written_is_named) {
    Result<ServiceManager> closed = ServiceManager::from_environment(4711);
    BOOST_REQUIRE(!closed);
    BOOST_TEST(closed.error().text() ==
               "could not use --notify-fd 4711: Bad file descriptor (open it for writing, as in --notify-fd "
               "3 3>ready)");
    UniqueFd reading(open("/dev/null", O_RDONLY | O_CLOEXEC));
    BOOST_TEST(!ServiceManager::from_environment(reading.get()));
}

// Its queue takes a few messages (net.unix.max_dgram_qlen); one that is lost would leave it waiting for ever.
BOOST_AUTO_TEST_CASE(what_a_busy_manager_did_not_take_it_hears_later) {
    Manager manager(unique_name("@"));
    Result<ServiceManager> us = ServiceManager::from_environment(-1);
    BOOST_REQUIRE(us);
    us->reloading("a");
    while (true) {
        UniqueFd other(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path + 1, manager.name.data() + 1, manager.name.size() - 1);
        const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + manager.name.size());
        if (sendto(other.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&address), length) < 0) break;
    }
    us->ready("b");
    us->report(0, "c", false);
    BOOST_TEST(manager.receive().starts_with("RELOADING=1\n"));
    while (manager.receive() == "x") continue;
    us->report(0, "c", false);
    BOOST_TEST(manager.receive() == "READY=1\nSTATUS=b\n");
    BOOST_TEST(manager.receive() == "STATUS=c\n");
    BOOST_TEST(manager.receive() == "nothing");
}

BOOST_AUTO_TEST_SUITE_END()
