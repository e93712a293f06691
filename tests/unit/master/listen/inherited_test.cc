// What a service manager passes, and what a wrong environment is told.

#include "master/listen/inherited.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>

#include "daemon/base/net/address.h"
#include "tests/unit/in_child.h"

using namespace tcpd;
using namespace tcpd::master;

namespace {

struct Environment {
    std::string pid, count, names;  // empty: not set; pid "self" is the process that reads it
};

enum class Passed { listening, connected, datagrams, sequenced, vsock, file };

UniqueFd make(Passed what) {
    switch (what) {
        case Passed::listening: {
            UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
            ::listen(fd.get(), 1);
            return fd;
        }
        case Passed::connected: return UniqueFd(::socket(AF_INET, SOCK_STREAM, 0));
        case Passed::datagrams: return UniqueFd(::socket(AF_UNIX, SOCK_DGRAM, 0));
        case Passed::sequenced: return UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
        case Passed::vsock: return UniqueFd(::socket(AF_VSOCK, SOCK_STREAM, 0));
        case Passed::file: return UniqueFd(::open("/dev/null", O_RDONLY));
    }
    return UniqueFd();
}

void set(const char* name, const std::string& value) {
    if (!value.empty()) ::setenv(name, value.c_str(), 1);
}

std::string text_of(const Environment& environment, const std::string& name) {
    set("LISTEN_PID", environment.pid == "self" ? std::to_string(::getpid()) : environment.pid);
    set("LISTEN_FDS", environment.count);
    set("LISTEN_FDNAMES", environment.names);
    auto read = InheritedSockets::from_environment();
    if (!read) return read.error().text();
    for (const char* variable : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"})
        if (::getenv(variable) != nullptr) return "it is still set";
    const auto found = read->named(name);
    return found ? std::to_string(found->size()) : found.error().text();
}

// How many sockets have the name, or why there are none; what is passed lies from descriptor 3 on.
std::string named(const Environment& environment, const std::vector<Passed>& passed,
                  const std::string& name = "web") {
    int ends[2];
    BOOST_REQUIRE(::pipe(ends) == 0);
    const UniqueFd output(ends[0]), input(ends[1]);
    test::run_in_child([&] {
        const UniqueFd told(::fcntl(input.get(), F_DUPFD, 100));
        std::vector<UniqueFd> made;
        for (const Passed what : passed) made.emplace_back(::fcntl(make(what).get(), F_DUPFD, 100));
        ::close_range(3, 99, 0);
        for (size_t i = 0; i < made.size(); ++i) ::dup2(made[i].get(), 3 + static_cast<int>(i));
        const std::string text = text_of(environment, name);
        return ::write(told.get(), text.data(), text.size()) > 0 ? 0 : 1;
    });
    std::string text(4096, '\0');
    ::fcntl(output.get(), F_SETFL, O_NONBLOCK);
    const ssize_t got = ::read(output.get(), text.data(), text.size());
    text.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return text;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

void check_told(const std::string& text, const std::string& part) {
    BOOST_TEST(contains(text, part), text << " has not: " << part);
}

constexpr Passed kOne = Passed::listening;

}  // namespace

BOOST_AUTO_TEST_SUITE(inherited)

BOOST_AUTO_TEST_CASE(what_is_passed_is_found_by_its_name) {
    BOOST_TEST(named({"self", "1", "web"}, {kOne}) == "1");
    BOOST_TEST(named({"self", "3", "web:other:web"}, {kOne, kOne, kOne}) == "2");
    BOOST_TEST(named({"self", "2", "other:web"}, {Passed::datagrams, kOne}) == "1");
    BOOST_TEST(named({"self", "1", ""}, {kOne}, "unknown") == "1");
}

BOOST_AUTO_TEST_CASE(it_knows_what_it_holds) {
    BOOST_TEST(!InheritedSockets().holds(-1));
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
    const int number = fd.get();
    std::vector<InheritedSocket> one;
    one.push_back({"web", std::move(fd)});
    const InheritedSockets sockets(std::move(one));
    BOOST_TEST(sockets.holds(number));
    BOOST_TEST(!sockets.holds(number + 1));
}

BOOST_AUTO_TEST_CASE(a_wrapper_that_does_not_exec_is_told) {
    const std::string text = named({"1", "1", "web"}, {kOne});
    check_told(text, "passes as \"web\": LISTEN_PID is 1, this is ");
    check_told(text, ": a wrapper has to exec tcpd (");
    BOOST_TEST(!contains(text, "FileDescriptorName"));
}

BOOST_AUTO_TEST_CASE(half_an_environment_is_told) {
    check_told(named({"", "1", "web"}, {kOne}), "LISTEN_FDS is \"1\" and LISTEN_PID is not set");
    check_told(named({"self", "", "web"}, {kOne}), "it set LISTEN_PID and no LISTEN_FDS");
    check_told(named({"x", "1", "web"}, {kOne}), "LISTEN_PID is \"x\", which is no number");
    check_told(named({"self", "0", "web"}, {kOne}), "LISTEN_FDS is 0");
    check_told(named({"", "", ""}, {}), "it passed none (set FileDescriptorName=web");
}

BOOST_AUTO_TEST_CASE(names_and_descriptors_that_do_not_match_are_told) {
    check_told(named({"self", "2", "other"}, {kOne, kOne}),
               "it passed \"other\", \"unknown\"; LISTEN_FDNAMES has 1 names, LISTEN_FDS is 2");
    check_told(named({"self", "1", "other:web"}, {kOne}),
               "it passed \"other\"; LISTEN_FDNAMES has 2 names, LISTEN_FDS is 1");
    check_told(named({"self", "1", "other"}, {kOne}), "it passed \"other\" (set FileDescriptorName=web");
}

BOOST_AUTO_TEST_CASE(numbers_of_descriptors_that_are_none_are_told) {
    for (const char* count : {"x", "-1", "4097", "99999999999999999999", "1 "})
        check_told(named({"self", count, "web"}, {kOne}), "it is not a number of descriptors up to 4096");
    check_told(named({"self", "2", "web:web"}, {kOne}), "LISTEN_FDS is 2, more than are there");
}

BOOST_AUTO_TEST_CASE(what_is_no_listening_socket_for_streams_is_told) {
    const auto passed = [](Passed what) { return named({"self", "1", "web"}, {what}); };
    check_told(passed(Passed::connected), "it is a stream socket that does not listen");
    check_told(passed(Passed::datagrams), "it is a datagram socket");
    check_told(passed(Passed::sequenced), "it is a socket of type 5");
    check_told(passed(Passed::file), "it is no socket");
    if (make(Passed::vsock)) check_told(passed(Passed::vsock), "it is a socket of address family 40");
}

BOOST_AUTO_TEST_SUITE_END()
