#include "master/listen/listeners.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "master/reexec/state.h"
#include "tests/unit/folder.h"
#include "tests/unit/in_child.h"
#include "tests/unit/lose_family.h"

using namespace tcpd;
using namespace tcpd::master;
using tcpd::test::Folder;

namespace {

conf::Listener listener(const std::string& name, std::initializer_list<std::string> addresses) {
    conf::Listener made;
    made.name = name;
    for (const std::string& text : addresses) {
        auto address = Address::parse(text, true);
        BOOST_REQUIRE(address);
        made.listen.push_back(*address);
    }
    return made;
}

conf::Config config(std::initializer_list<conf::Listener> listeners) {
    conf::Config made;
    made.listeners = listeners;
    return made;
}

Listeners open(const conf::Config& config, unsigned slots) {
    auto opened = Listeners::open(config, slots);
    BOOST_REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().text()));
    return std::move(*opened);
}

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    ::getsockopt(fd, level, name, &value, &length);
    return value;
}

uint16_t port_of(int fd) { return Address::of_socket(fd)->port(); }

bool can_connect(const Address& address) {
    const UniqueFd fd(::socket(address.family(), SOCK_STREAM, 0));
    return ::connect(fd.get(), address.get(), address.length()) == 0;
}

mode_t mode_of(const std::string& path) {
    struct stat status {};
    BOOST_REQUIRE(::stat(path.c_str(), &status) == 0);
    return status.st_mode & 07777;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(listeners)

BOOST_AUTO_TEST_CASE(port_0_becomes_one_port_for_all_slots) {
    const Listeners opened = open(config({listener("echo", {"127.0.0.1:0"})}), 3);
    const ListeningAddress& address = opened.addresses().front();
    BOOST_REQUIRE(address.sockets.size() == 3U);
    BOOST_TEST(address.address.port() != 0);
    for (uint32_t slot = 0; slot < 3; ++slot) {
        BOOST_TEST(port_of(address.socket_of(slot)) == address.address.port());
    }
    BOOST_TEST(can_connect(address.address));
}

BOOST_AUTO_TEST_CASE(accepted_sockets_inherit_what_was_set) {
    conf::Listener wanted = listener("echo", {"127.0.0.1:0"});
    wanted.keepalive = {
        .idle = std::chrono::seconds(7), .interval = std::chrono::milliseconds(2500), .probes = 3};
    const Listeners opened = open(config({wanted}), 1);
    const ListeningAddress& address = opened.addresses().front();
    const UniqueFd client(::socket(AF_INET, SOCK_STREAM, 0));
    BOOST_REQUIRE(::connect(client.get(), address.address.get(), address.address.length()) == 0);
    const UniqueFd accepted(::accept(address.socket_of(0), nullptr, nullptr));
    BOOST_REQUIRE(accepted);
    BOOST_TEST(option(accepted.get(), IPPROTO_TCP, TCP_NODELAY) == 1);
    BOOST_TEST(option(accepted.get(), SOL_SOCKET, SO_OOBINLINE) == 1);
    BOOST_TEST(option(accepted.get(), SOL_SOCKET, SO_KEEPALIVE) == 1);
    BOOST_TEST(option(accepted.get(), IPPROTO_TCP, TCP_KEEPIDLE) == 7);
    BOOST_TEST(option(accepted.get(), IPPROTO_TCP, TCP_KEEPINTVL) == 3);
    BOOST_TEST(option(accepted.get(), IPPROTO_TCP, TCP_KEEPCNT) == 3);
    BOOST_TEST(option(accepted.get(), IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
}

BOOST_AUTO_TEST_CASE(six_is_six_only) {
    const Listeners opened = open(config({listener("echo", {"[::]:0"})}), 2);
    const ListeningAddress& address = opened.addresses().front();
    BOOST_TEST(option(address.socket_of(1), IPPROTO_IPV6, IPV6_V6ONLY) == 1);
    BOOST_TEST(can_connect(*Address::parse(fmt::format("[::1]:{}", address.address.port()), false)));
    BOOST_TEST(!can_connect(*Address::parse(fmt::format("127.0.0.1:{}", address.address.port()), false)));
}

BOOST_AUTO_TEST_CASE(a_slot_gets_its_own_tcp_sockets_and_the_common_unix_socket) {
    const Folder folder;
    const Listeners opened = open(config({listener("a", {"127.0.0.1:0"}),
                                          listener("b", {"127.0.0.1:0", "unix:" + (folder / "b.sock")})}),
                                  2);
    const auto first = opened.sockets_of(0, Side::in_force), second = opened.sockets_of(1, Side::in_force);
    BOOST_REQUIRE(first.size() == 3U);
    BOOST_TEST(first[0] != second[0]);
    BOOST_TEST(first[1] != second[1]);
    BOOST_TEST(first[2] == second[2]);
    const auto described = opened.describe_sockets(0, Side::in_force);
    BOOST_TEST(described[2].listener_id == 1U);
    BOOST_TEST(described[0].is_unix == 0U);
    BOOST_TEST(described[2].is_unix == 1U);
    BOOST_TEST(described[2].fd == slot::kFirstListenFd + 2);
}

BOOST_AUTO_TEST_CASE(a_port_in_use_is_not_shared_and_its_holder_is_named) {
    const Listeners first = open(config({listener("echo", {"127.0.0.1:0"})}), 2);
    const Address taken = first.addresses().front().address;
    auto second = Listeners::open(config({listener("gateway", {taken.text()})}), 2);
    BOOST_REQUIRE(!second);
    BOOST_TEST((second.error().code == ErrorCode::in_use));
    const std::string text = second.error().text();
    BOOST_TEST(text.starts_with("could not bind listener \"gateway\" to " + taken.text() +
                                ": Address already in use (held by "));
    BOOST_TEST(text.ends_with(", pid " + std::to_string(::getpid()) +
                              "; stop it or change listeners.gateway.listen)"));
}

BOOST_AUTO_TEST_CASE(an_address_of_another_machine_is_explained) {
    auto opened = Listeners::open(config({listener("echo", {"192.0.2.1:7000"})}), 1);
    BOOST_REQUIRE(!opened);
    BOOST_TEST(opened.error().text() ==
               "could not bind listener \"echo\" to 192.0.2.1:7000: Cannot assign requested address (no "
               "interface of this machine has this address; to listen there before it comes, set "
               "listeners.echo.freebind: true)");
}

BOOST_AUTO_TEST_CASE(with_freebind_an_address_need_not_be_there) {
    conf::Listener floating = listener("echo", {"192.0.2.1:7000", "[2001:db8::7]:7000"});
    floating.freebind = true;
    Listeners opened = open(config({floating, listener("other", {"127.0.0.1:0"})}), 2);
    BOOST_TEST(opened.addresses().size() == 3U);
    opened.expect_slot();
    BOOST_TEST(bool{opened.open_slot(2, config({floating, listener("other", {"127.0.0.1:0"})}))});
    Listeners later = open(config({listener("other", {"127.0.0.1:0"})}), 1);
    const conf::Config changed = config({listener("other", {"127.0.0.1:0"}), floating});
    opened.close_sockets();
    BOOST_TEST(bool{later.prepare(changed, first_roster(changed))});
}

BOOST_AUTO_TEST_CASE(a_link_local_address_is_explained) {
    auto opened = Listeners::open(config({listener("echo", {"[fe80::1]:7000"})}), 1);
    BOOST_REQUIRE(!opened);
    BOOST_TEST(opened.error().text().find("use one that is not link-local") != std::string::npos);
}

// -- a machine that lacks IPv6, or IPv4

conf::Listener at_star(const std::string& name = "echo") {
    conf::Listener made = listener(name, {});
    made.listen = *Address::parse_listen("*:0");
    return made;
}

std::vector<int> families_of(const Listeners& opened) {
    std::vector<int> list;
    for (const ListeningAddress& address : opened.addresses()) list.push_back(address.address.family());
    return list;
}

BOOST_AUTO_TEST_CASE(a_star_is_what_the_machine_has) {
    for (const int lost : {AF_INET6, AF_INET}) {
        const int left = lost == AF_INET ? AF_INET6 : AF_INET;
        BOOST_TEST(test::holds_in_child([&] {
            if (!test::lose_family(lost)) return false;
            auto opened = Listeners::open(config({at_star()}), 2);
            return opened && families_of(*opened) == std::vector<int>{left};
        }));
        BOOST_TEST(test::holds_in_child([&] {  // by a reload
            if (!test::lose_family(lost)) return false;
            auto opened = Listeners::open(config({at_star()}), 2);
            const conf::Config changed = config({at_star(), at_star("more")});
            return opened && opened->prepare(changed, first_roster(changed)) &&
                   families_of(*opened) == std::vector<int>{left, left};
        }));
    }
    BOOST_TEST(test::holds_in_child([] {
        return test::lose_family(AF_INET6) && test::lose_family(AF_INET) &&
               !Listeners::open(config({at_star()}), 1);
    }));
}

BOOST_AUTO_TEST_CASE(an_address_of_a_family_that_is_not_there_fails) {
    BOOST_TEST(test::holds_in_child([] {
        if (!test::lose_family(AF_INET6)) return false;
        auto opened = Listeners::open(config({listener("echo", {"127.0.0.1:0", "[::]:7000"})}), 1);
        return !opened && opened.error().text().find("this machine has no IPv6") != std::string::npos;
    }));
}

// What is open goes on; a slot that comes later serves what there is.
BOOST_AUTO_TEST_CASE(a_family_that_goes_takes_nothing_with_it) {
    BOOST_TEST(test::holds_in_child([] {
        const conf::Config wanted = config({at_star()});
        auto opened = Listeners::open(wanted, 2);
        if (!opened || !test::lose_family(AF_INET6)) return false;
        opened->expect_slot();
        if (!opened->open_slot(2, wanted) || !opened->prepare(wanted, first_roster(wanted))) return false;
        opened->commit(wanted);
        return opened->sockets_of(0, Side::in_force).size() == 2 &&
               opened->sockets_of(2, Side::in_force).size() == 1 &&
               opened->describe_sockets(2, Side::in_force).size() == 1;
    }));
}

BOOST_AUTO_TEST_CASE(a_family_that_goes_while_nothing_is_served_does_not_keep_us_from_serving) {
    BOOST_TEST(test::holds_in_child([] {
        const conf::Config wanted = config({at_star()});
        auto opened = Listeners::open(wanted, 2);
        if (!opened || !test::lose_family(AF_INET6)) return false;
        opened->close_sockets();
        return opened->open_again(wanted) && opened->open_slot(2, wanted) &&
               opened->sockets_of(2, Side::in_force).size() == 1;
    }));
}

BOOST_AUTO_TEST_CASE(a_low_port_is_explained_to_ordinary_users) {
    const bool explained = test::holds_in_child([] {
        if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return false;
        auto opened = Listeners::open(config({listener("echo", {"127.0.0.1:81"})}), 1);
        return !opened && opened.error().text().find("ports below 1024 need root or CAP_NET_BIND_SERVICE") !=
                              std::string::npos;
    });
    BOOST_TEST(explained);
}

BOOST_AUTO_TEST_CASE(closing_lets_the_port_go) {
    Listeners opened = open(config({listener("echo", {"127.0.0.1:0"})}), 2);
    const Address address = opened.addresses().front().address;
    opened.close_sockets();
    BOOST_TEST(!can_connect(address));
}

// -- unix sockets

BOOST_AUTO_TEST_CASE(a_unix_socket_has_its_rights_and_its_file_ends_with_it) {
    const Folder folder;
    conf::Listener wanted = listener("local", {"unix:" + (folder / "s")});
    wanted.unix_socket.mode = 0640;
    {
        const Listeners opened = open(config({wanted}), 2);
        BOOST_TEST(mode_of(folder / "s") == 0640U);
        BOOST_TEST(can_connect(opened.addresses().front().address));
    }
    BOOST_TEST(!std::filesystem::exists(folder / "s"));
}

BOOST_AUTO_TEST_CASE(a_stale_unix_socket_is_replaced_and_nothing_left_beside_it) {
    const Folder folder;
    auto address = Address::parse("unix:" + (folder / "s"), false);
    {
        const UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM, 0));
        BOOST_REQUIRE(::bind(stale.get(), address->get(), address->length()) == 0);
    }
    BOOST_REQUIRE(!can_connect(*address));
    const Listeners opened = open(config({listener("local", {address->text()})}), 1);
    BOOST_TEST(can_connect(*address));
    const auto entries = std::distance(std::filesystem::directory_iterator(folder / ""), {});
    BOOST_TEST(entries == 1);
}

BOOST_AUTO_TEST_CASE(a_live_unix_socket_is_in_use) {
    const Folder folder;
    const conf::Config same = config({listener("local", {"unix:" + (folder / "s")})});
    const Listeners first = open(same, 1);
    auto second = Listeners::open(same, 1);
    BOOST_REQUIRE(!second);
    BOOST_TEST((second.error().code == ErrorCode::in_use));
    BOOST_TEST(second.error().text().find("pid " + std::to_string(::getpid())) != std::string::npos);
    BOOST_TEST(can_connect(first.addresses().front().address));
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_socket_is_left_alone) {
    const Folder folder;
    std::ofstream(folder / "s") << "precious";
    auto opened = Listeners::open(config({listener("local", {"unix:" + (folder / "s")})}), 1);
    BOOST_REQUIRE(!opened);
    BOOST_TEST(opened.error().text().find("no socket") != std::string::npos);
    BOOST_TEST(std::filesystem::file_size(folder / "s") == 8U);
}

BOOST_AUTO_TEST_CASE(a_stale_socket_of_another_is_replaced_in_our_own_folders_alone) {
    if (::geteuid() != 0) return;
    const Folder folder;  // in /tmp, where everybody may write
    const auto address = Address::parse("unix:" + (folder / "s"), false);
    const UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM, 0));
    BOOST_REQUIRE(::bind(stale.get(), address->get(), address->length()) == 0);
    BOOST_REQUIRE(::chown((folder / "s").c_str(), 65534, 65534) == 0);
    conf::Config wanted = config({listener("local", {address->text()})});
    auto refused = Listeners::open(wanted, 1);
    BOOST_REQUIRE(!refused);
    BOOST_TEST(refused.error().text().find("it belongs to user 65534, and others may write its folder") !=
               std::string::npos);
    // It was ours: the configuration gives it away.
    wanted.listeners.front().unix_socket.owner = "nobody";
    BOOST_TEST(bool(Listeners::open(wanted, 1)));
}

BOOST_AUTO_TEST_CASE(a_socket_file_that_is_gone_or_anothers_is_bound_anew) {
    const Folder folder;
    conf::Config wanted = config({listener("local", {"unix:" + (folder / "s")})});
    wanted.listeners.front().unix_socket.mode = 0640;
    Listeners opened = open(wanted, 1);
    const Address address = opened.addresses().front().address;
    const Roster roster = first_roster(wanted);
    const auto reload = [&] {
        if (auto done = opened.prepare(wanted, roster); !done) return done;
        opened.commit(wanted);
        return Result<void>();
    };
    const auto make_stale = [&] {
        std::filesystem::remove(folder / "s");
        const UniqueFd theirs(::socket(AF_UNIX, SOCK_STREAM, 0));
        BOOST_REQUIRE(::bind(theirs.get(), address.get(), address.length()) == 0);
    };
    const int first = opened.addresses().front().socket_of(0);
    BOOST_REQUIRE(reload());
    BOOST_TEST(opened.addresses().front().socket_of(0) == first);
    std::filesystem::remove(folder / "s");
    BOOST_TEST(!can_connect(address));
    BOOST_REQUIRE(reload());
    BOOST_TEST(can_connect(address));
    BOOST_TEST(mode_of(folder / "s") == 0640U);
    make_stale();
    BOOST_TEST(!can_connect(address));
    BOOST_REQUIRE(reload());
    BOOST_TEST(can_connect(address));
    BOOST_TEST(opened.addresses().size() == 1U);
    std::filesystem::remove(folder / "s");
    std::ofstream(folder / "s") << "precious";
    BOOST_TEST(!reload());
    BOOST_TEST(opened.addresses().size() == 1U);
    BOOST_TEST(std::filesystem::file_size(folder / "s") == 8U);
}

BOOST_AUTO_TEST_CASE(a_file_that_became_somebody_elses_is_not_removed) {
    const Folder folder;
    {
        const Listeners opened = open(config({listener("local", {"unix:" + (folder / "s")})}), 1);
        std::filesystem::remove(folder / "s");
        std::ofstream(folder / "s") << "theirs";
    }
    BOOST_TEST(std::filesystem::exists(folder / "s"));
}

// A new program that only tries to take over has the same files before it as the one that serves.
BOOST_AUTO_TEST_CASE(what_can_not_be_taken_over_stays_where_it_is) {
    const Folder folder;
    const conf::Config wanted = config({listener("local", {"unix:" + (folder / "s")})});
    const Listeners opened = open(wanted, 1);
    MasterState state;
    opened.save(state);
    state.addresses.front().sockets.clear();
    state.addresses.push_back({.address = "of another version"});
    BOOST_TEST(!Listeners::take_over(state, wanted));
    BOOST_TEST(can_connect(opened.addresses().front().address));
}

BOOST_AUTO_TEST_CASE(all_or_nothing) {
    const Folder folder;
    auto opened = Listeners::open(config({listener("first", {"unix:" + (folder / "s")}),
                                          listener("second", {"unix:" + (folder / "no/s")})}),
                                  1);
    BOOST_REQUIRE(!opened);
    BOOST_TEST(opened.error().text().find("\"second\"") != std::string::npos);
    BOOST_TEST(!std::filesystem::exists(folder / "s"));
}

// Only the socket itself shows what it is.
BOOST_AUTO_TEST_CASE(rules_for_addresses_need_a_socket_that_has_some) {
    const Folder folder;
    const auto passed = [&](std::initializer_list<std::string> texts) {
        std::vector<InheritedSocket> sockets;
        for (const std::string& text : texts) {
            const Address address = *Address::parse(text, true);
            UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
            BOOST_REQUIRE(::bind(fd.get(), address.get(), address.length()) == 0);
            BOOST_REQUIRE(::listen(fd.get(), 1) == 0);
            sockets.push_back({"x", std::move(fd)});
        }
        return InheritedSockets(std::move(sockets));
    };
    conf::Listener plain = listener("a", {});
    plain.listen = *Address::parse_listen("systemd:x");
    conf::Config wanted = config({plain});
    wanted.listeners[0].deny.push_back(*AddressBlock::parse("10.0.0.0/8"));
    const auto refused = Listeners::open(wanted, 1, passed({"unix:" + folder / "one"}));
    BOOST_REQUIRE(!refused);
    BOOST_TEST(refused.error().text() ==
               "listeners.a.deny: clients of a unix socket have no address, and "
               "this listener has no other socket");
    BOOST_TEST(bool{Listeners::open(wanted, 1, passed({"unix:" + folder / "two", "127.0.0.1:0"}))});
    BOOST_TEST(bool{Listeners::open(wanted, 1, passed({"127.0.0.1:0"}))});
    auto opened = Listeners::open(config({plain}), 1, passed({"unix:" + folder / "three"}));
    BOOST_REQUIRE(opened);
    const auto changed = opened->prepare(wanted, first_roster(wanted));
    BOOST_REQUIRE(!changed);
    BOOST_TEST((changed.error().code == ErrorCode::bad_config));
}

BOOST_AUTO_TEST_SUITE_END()
