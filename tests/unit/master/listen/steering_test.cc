#include "master/listen/steering.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <boost/test/unit_test.hpp>
#include <deque>
#include <map>
#include <optional>

#include "daemon/base/net/address.h"
#include "daemon/base/unique_fd.h"
#include "daemon/slot/shared_counts.h"

using namespace tcpd;
using namespace tcpd::master;

namespace {

// What the kernel would return if it drew `random`.
uint32_t run(const std::vector<sock_filter>& program, uint32_t random) {
    uint32_t a = 0;
    for (size_t at = 0; at < program.size(); ++at) {
        const sock_filter& step = program[at];
        switch (step.code) {
            case BPF_LD | BPF_W | BPF_ABS:
                BOOST_REQUIRE(step.k == static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM));
                a = random;
                break;
            case BPF_ALU | BPF_MOD | BPF_K: a %= step.k; break;
            case BPF_JMP | BPF_JGE | BPF_K: at += a >= step.k ? step.jt : step.jf; break;
            case BPF_RET | BPF_K: return step.k;
            default: BOOST_FAIL("a step that no steering program has");
        }
    }
    BOOST_FAIL("the program runs off its end");
    return 0;
}

std::map<uint32_t, int> choices(const std::vector<Odds>& odds, uint32_t draws) {
    const auto program = steering_program(odds);
    std::map<uint32_t, int> chosen;
    for (uint32_t random = 0; random < draws; ++random) ++chosen[run(program, random)];
    return chosen;
}

struct Group {
    static constexpr int kSockets = 4;
    std::vector<UniqueFd> sockets;
    SteeredGroup group;
    Address address;

    explicit Group(const std::string& text = "127.0.0.1:0") : address(*Address::parse(text, true)) {
        for (uint32_t slot = 0; slot < kSockets; ++slot) add(slot);
    }
    void add(uint32_t slot) {
        UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK, 0));
        const int on = 1;
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        if (address.family() == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        BOOST_REQUIRE(::bind(fd.get(), address.get(), address.length()) == 0);
        BOOST_REQUIRE(::listen(fd.get(), 4096) == 0);
        address = *Address::of_socket(fd.get());
        group.add(slot, fd.get());
        sockets.push_back(std::move(fd));
    }
    // How many of `count` connections each socket got.
    std::vector<int> connect(int count) { return connect(count, address); }
    std::vector<int> connect(int count, const Address& to) {
        std::vector<int> got(kSockets);
        for (int i = 0; i < count; ++i) {
            const UniqueFd client(::socket(to.family(), SOCK_STREAM, 0));
            BOOST_REQUIRE(::connect(client.get(), to.get(), to.length()) == 0);
            for (int k = 0; k < kSockets; ++k) {
                while (UniqueFd accepted{::accept(sockets[static_cast<size_t>(k)].get(), nullptr, nullptr)}) {
                    ++got[static_cast<size_t>(k)];
                }
            }
        }
        return got;
    }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(steering)

BOOST_AUTO_TEST_CASE(each_index_in_service_is_drawn_equally_often) {
    const auto chosen = choices({{1, 1}, {2, 1}, {5, 1}}, 3000);
    BOOST_TEST(chosen.size() == 3U);
    for (const uint32_t index : {1U, 2U, 5U}) BOOST_TEST(chosen.at(index) == 1000);
}

BOOST_AUTO_TEST_CASE(the_odds_are_kept) {
    const auto chosen = choices({{4, 1}, {0, 3}, {2, 6}}, 1000);
    BOOST_TEST(chosen.at(4) == 100);
    BOOST_TEST(chosen.at(0) == 300);
    BOOST_TEST(chosen.at(2) == 600);
}

BOOST_AUTO_TEST_CASE(weights_make_even_what_is_uneven) {
    BOOST_TEST((weights({10, 30, 20}, 60) == std::vector<uint32_t>{30, 10, 20}));
    BOOST_TEST((weights({100, 0}, 2) == std::vector<uint32_t>{1, 51}));
    BOOST_TEST((weights({0, 0, 0}, 0) == std::vector<uint32_t>{1, 1, 1}));
    BOOST_TEST((weights({uint64_t{1} << 40, 0}, 0) == std::vector<uint32_t>{1, 1U << 20}));
    BOOST_TEST(weights({}, 5).empty());
}

BOOST_AUTO_TEST_CASE(a_single_index_is_always_chosen) { BOOST_TEST(choices({{3, 7}}, 100).at(3) == 100); }

BOOST_AUTO_TEST_CASE(with_no_index_the_kernel_is_left_to_its_hash) {
    BOOST_TEST(choices({}, 10).at(0xFFFFFFFF) == 10);
}

BOOST_AUTO_TEST_CASE(as_many_slots_as_there_may_be_fit_a_program) {
    std::vector<Odds> odds;
    for (uint32_t i = 0; i < 256; ++i) odds.push_back({i, 1});
    BOOST_TEST(steering_program(odds).size() < static_cast<size_t>(BPF_MAXINSNS));
    const auto chosen = choices(odds, 256);
    BOOST_TEST(chosen.size() == 256U);
}

BOOST_AUTO_TEST_CASE(the_kernel_spreads_connections_over_a_group) {
    Group listeners;
    BOOST_REQUIRE(listeners.group.steer_at_random({0, 1, 2, 3}, {}));
    const auto got = listeners.connect(4000);
    for (const int count : got) {
        BOOST_TEST(count > 850);
        BOOST_TEST(count < 1150);
    }
}

BOOST_AUTO_TEST_CASE(slots_out_of_service_get_nothing) {
    Group listeners;
    BOOST_REQUIRE(listeners.group.steer_at_random({0, 1, 2, 3}, {}));
    BOOST_REQUIRE(listeners.group.steer_at_random({1, 3}, {}));
    const auto got = listeners.connect(400);
    BOOST_TEST(got[0] == 0);
    BOOST_TEST(got[2] == 0);
    BOOST_TEST(got[1] + got[3] == 400);
    BOOST_REQUIRE(listeners.group.steer_at_random({2}, {}));
    BOOST_TEST(listeners.connect(100)[2] == 100);
}

BOOST_AUTO_TEST_CASE(slots_that_are_no_members_change_nothing) {
    Group listeners;
    BOOST_REQUIRE(listeners.group.steer_at_random({2}, {}));
    BOOST_REQUIRE(listeners.group.steer_at_random({7, 9}, {}));
    BOOST_TEST(listeners.connect(50)[2] == 50);
}

// -- least connections: where the kernel lets us

boost::test_tools::assertion_result may_use_bpf(boost::unit_test::test_unit_id) {
    boost::test_tools::assertion_result holds(static_cast<bool>(make_counts_map()));
    holds.message() << "there is no right to use BPF";
    return holds;
}

struct CountedMap {
    UniqueFd map;
    std::optional<slot::SharedCounts> counts;
    LeastConnections least;

    CountedMap() {
        auto made = make_counts_map();
        BOOST_REQUIRE(made);
        map = std::move(*made);
        auto mapped = slot::SharedCounts::map(map.get());
        BOOST_REQUIRE(mapped);
        counts.emplace(std::move(*mapped));
        least.count_in(map.get());
    }
};

struct Counted : CountedMap, Group {
    Result<void> steer(const std::vector<uint32_t>& slots) { return group.steer_to_least(slots, least); }
};

BOOST_AUTO_TEST_CASE(the_slot_with_the_fewest_gets_the_next, *boost::unit_test::precondition(may_use_bpf)) {
    Counted listeners;
    BOOST_TEST(is_counts_map(listeners.map.get()));
    listeners.counts->steered(0).store(30);
    listeners.counts->steered(2).store(10);
    BOOST_REQUIRE(listeners.steer({0, 1, 2, 3}));
    BOOST_TEST((listeners.connect(80) == std::vector<int>{0, 30, 20, 30}));
    BOOST_TEST((listeners.connect(40) == std::vector<int>{10, 10, 10, 10}));
    for (uint32_t slot = 0; slot < 4; ++slot) BOOST_TEST(listeners.counts->steered(slot).load() == 40U);
}

BOOST_AUTO_TEST_CASE(a_count_below_zero_is_the_least, *boost::unit_test::precondition(may_use_bpf)) {
    Counted listeners;
    listeners.counts->steered(3).store(static_cast<uint32_t>(-5));
    BOOST_REQUIRE(listeners.steer({0, 1, 2, 3}));
    BOOST_TEST((listeners.connect(5) == std::vector<int>{0, 0, 0, 5}));
}

// Of a connection that the listeners' side never had, or has no more.
BOOST_AUTO_TEST_CASE(a_stray_segment_counts_for_nobody, *boost::unit_test::precondition(may_use_bpf)) {
    Counted listeners;
    BOOST_REQUIRE(listeners.steer({0, 1, 2, 3}));
    for (int i = 0; i < 10; ++i) {
        const UniqueFd stray(::socket(AF_INET, SOCK_STREAM, 0));
        const int on = TCP_REPAIR_ON, off = TCP_REPAIR_OFF;
        BOOST_REQUIRE(::setsockopt(stray.get(), IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) == 0);
        BOOST_REQUIRE(::connect(stray.get(), listeners.address.get(), listeners.address.length()) == 0);
        BOOST_REQUIRE(::setsockopt(stray.get(), IPPROTO_TCP, TCP_REPAIR, &off, sizeof off) == 0);
        char byte;
        BOOST_TEST(::recv(stray.get(), &byte, 1, 0) == -1);
        BOOST_TEST(errno == ECONNRESET);
    }
    for (uint32_t slot = 0; slot < 4; ++slot) BOOST_TEST(listeners.counts->steered(slot).load() == 0U);
    BOOST_TEST((listeners.connect(40) == std::vector<int>{10, 10, 10, 10}));
}

BOOST_AUTO_TEST_CASE(the_choice_changes_without_another_program,
                     *boost::unit_test::precondition(may_use_bpf)) {
    Counted listeners;
    BOOST_REQUIRE(listeners.steer({0, 1, 2, 3}));
    BOOST_REQUIRE(listeners.steer({1, 3}));
    BOOST_TEST((listeners.connect(20) == std::vector<int>{0, 10, 0, 10}));
    listeners.group.remove(1);
    listeners.sockets[1].reset();
    BOOST_REQUIRE(listeners.steer({0, 2, 3}));
    const auto got = listeners.connect(29);
    BOOST_TEST((got == std::vector<int>{13, 0, 13, 3}));
}

// Such as after an upgrade, of a master that could not go on with it.
BOOST_AUTO_TEST_CASE(from_chance_there_is_a_way_back, *boost::unit_test::precondition(may_use_bpf)) {
    Counted listeners;
    for (int i = 0; i < 3; ++i) {
        BOOST_REQUIRE(listeners.steer({0, 1, 2, 3}));
        BOOST_TEST((listeners.connect(40) == std::vector<int>{10, 10, 10, 10}));
        BOOST_REQUIRE(listeners.group.steer_at_random({0, 1, 2, 3}, {}));
        BOOST_TEST(!listeners.group.row());
    }
}

// -- one program for all groups

// Of each group, as many as these.
void check_even(Group& group, const Address& to, int count) {
    const auto got = group.connect(count, to);
    BOOST_TEST((got == std::vector<int>(4, count / 4)), to.text() << " is steered");
}

constexpr const char* kUnlike[] = {"127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0", "[::1]:0", "[::]:0"};

// One that loopback leads to.
Address reachable(const Address& address) {
    std::string text = address.text();
    if (text.starts_with("0.0.0.0:")) text.replace(0, 7, "127.0.0.3");
    if (text.starts_with("[::]:")) text.replace(0, 4, "[::1]");
    return *Address::parse(text, false);
}

BOOST_AUTO_TEST_CASE(one_program_steers_groups_of_every_kind, *boost::unit_test::precondition(may_use_bpf)) {
    CountedMap counted;
    counted.least.expect(std::size(kUnlike));
    std::deque<Group> groups;
    for (const char* text : kUnlike) groups.emplace_back(text);
    // The same port at another address is another group.
    groups.emplace_back("127.0.0.2:" + std::to_string(groups.front().address.port()));
    for (Group& group : groups) BOOST_REQUIRE(group.group.steer_to_least({0, 1, 2, 3}, counted.least));
    for (Group& group : groups) check_even(group, reachable(group.address), 40);
    BOOST_TEST(counted.least.save().size() == 1U);
    BOOST_REQUIRE(groups.front().group.steer_to_least({2}, counted.least));
    BOOST_TEST((groups.front().connect(8) == std::vector<int>{0, 0, 8, 0}));
    BOOST_TEST(groups.back().connect(4)[2] == 0);
}

BOOST_AUTO_TEST_CASE(more_groups_than_were_expected_get_a_second_program,
                     *boost::unit_test::precondition(may_use_bpf)) {
    CountedMap counted;
    counted.least.expect(10);
    std::deque<Group> groups;
    const auto add = [&](int count) {
        for (int i = 0; i < count; ++i) {
            groups.emplace_back();
            BOOST_REQUIRE(groups.back().group.steer_to_least({0, 1, 2, 3}, counted.least));
        }
    };
    add(20);
    BOOST_TEST(counted.least.save().size() == 1U);
    counted.least.expect(30);
    add(10);
    BOOST_TEST(counted.least.save().size() == 2U);
    for (Group& group : groups) check_even(group, group.address, 4);
}

BOOST_AUTO_TEST_CASE(the_row_of_a_group_that_ended_is_given_out_again,
                     *boost::unit_test::precondition(may_use_bpf)) {
    CountedMap counted;
    for (int i = 0; i < 50; ++i) {
        Group group;
        BOOST_REQUIRE(group.group.steer_to_least({0, 3}, counted.least));
        BOOST_REQUIRE(group.group.steer_to_least({0, 1, 2, 3}, counted.least));
        check_even(group, group.address, 4);
    }
    BOOST_TEST(counted.least.save().size() == 1U);
}

// A port that the kernel chose may be asked for by its number next.
BOOST_AUTO_TEST_CASE(the_later_of_two_with_one_address_outlives_the_first,
                     *boost::unit_test::precondition(may_use_bpf)) {
    CountedMap counted;
    std::optional<Group> first{std::in_place};
    BOOST_REQUIRE(first->group.steer_to_least({0, 1, 2, 3}, counted.least));
    Group second(first->address.text());
    BOOST_REQUIRE(second.group.steer_to_least({0, 1, 2, 3}, counted.least));
    first.reset();
    check_even(second, second.address, 40);
}

BOOST_AUTO_TEST_CASE(before_linux_5_14_each_group_has_a_program,
                     *boost::unit_test::precondition(may_use_bpf)) {
    CountedMap counted;
    counted.least.use_own_programs();
    std::deque<Group> groups(3);
    for (Group& group : groups) BOOST_REQUIRE(group.group.steer_to_least({0, 1, 2, 3}, counted.least));
    for (Group& group : groups) check_even(group, group.address, 40);
    BOOST_TEST(counted.least.save().size() == 3U);
}

// The kernel gives up the look through a program when a signal comes, such as a slot's death.
BOOST_AUTO_TEST_CASE(signals_do_not_keep_the_program_away, *boost::unit_test::precondition(may_use_bpf)) {
    CountedMap counted;
    Group listeners;
    const auto handler = ::signal(SIGALRM, [](int) {});
    const itimerval often{{0, 500}, {0, 500}}, never{};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    const auto steered = listeners.group.steer_to_least({0, 1, 2, 3}, counted.least);
    ::setitimer(ITIMER_REAL, &never, nullptr);
    ::signal(SIGALRM, handler);
    BOOST_TEST(bool{steered}, (steered ? "" : steered.error().text()));
}

// -- over an exec

BOOST_AUTO_TEST_CASE(after_an_exec_program_and_maps_are_the_same,
                     *boost::unit_test::precondition(may_use_bpf)) {
    CountedMap counted;
    std::deque<Group> groups(3);
    for (Group& group : groups) BOOST_REQUIRE(group.group.steer_to_least({0, 1}, counted.least));

    LeastConnections after;
    std::vector<SavedGroupTable> saved = counted.least.save();
    BOOST_REQUIRE(saved.size() == 1U);
    for (int* fd : {&saved[0].program, &saved[0].groups, &saved[0].choices, &saved[0].sockets})
        *fd = ::dup(*fd);
    after.take_over(saved);
    after.count_in(counted.map.get());
    std::deque<SteeredGroup> taken(3);
    for (size_t i = 0; i < 3; ++i) {
        const GroupRow& before = groups[i].group.row();
        for (uint32_t slot = 0; slot < 4; ++slot) taken[i].add(slot, groups[i].sockets[slot].get());
        taken[i].take_over(after.take_over_row(counted.least.number_of(before), before.number(),
                                               groups[i].sockets[0].get()));
        BOOST_TEST(taken[i].row().number() == before.number());
        BOOST_REQUIRE(taken[i].steer_to_least({2, 3}, after));
    }
    for (Group& group : groups) BOOST_TEST((group.connect(20) == std::vector<int>{0, 0, 10, 10}));
    BOOST_TEST(after.save().size() == 1U);
    Group fresh;
    BOOST_REQUIRE(fresh.group.steer_to_least({0, 1, 2, 3}, after));
    BOOST_TEST(fresh.group.row().number() == 3U);
    BOOST_TEST((fresh.connect(20) == std::vector<int>{10, 10, 0, 0}));  // the others have 30 each
    taken.clear();
}

BOOST_AUTO_TEST_CASE(a_row_that_an_exec_can_not_have_left_is_none,
                     *boost::unit_test::precondition(may_use_bpf)) {
    CountedMap counted;
    Group group;
    BOOST_REQUIRE(group.group.steer_to_least({0, 1}, counted.least));
    const int socket = group.sockets[0].get();
    BOOST_TEST(!counted.least.take_over_row(-1, 0, socket));
    BOOST_TEST(!counted.least.take_over_row(1, 0, socket));
    BOOST_TEST(!counted.least.take_over_row(0, 0, socket));  // is taken
    BOOST_TEST(!counted.least.take_over_row(0, 4096, socket));
}

BOOST_AUTO_TEST_SUITE_END()
