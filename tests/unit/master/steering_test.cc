#include "master/listen/steering.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <map>

#include "daemon/base/unique_fd.h"

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
            case BPF_JMP | BPF_JEQ | BPF_K: at += a == step.k ? step.jt : step.jf; break;
            case BPF_RET | BPF_K: return step.k;
            default: BOOST_FAIL("a step that no steering program has");
        }
    }
    BOOST_FAIL("the program runs off its end");
    return 0;
}

std::map<uint32_t, int> choices(const std::vector<uint32_t>& indices, uint32_t draws) {
    const auto program = steering_program(indices);
    std::map<uint32_t, int> chosen;
    for (uint32_t random = 0; random < draws; ++random) ++chosen[run(program, random)];
    return chosen;
}

struct Group {
    static constexpr int kSockets = 4;
    std::vector<UniqueFd> sockets;
    SteeredGroup group;
    sockaddr_in address{};

    Group() {
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        for (uint32_t slot = 0; slot < kSockets; ++slot) add(slot);
    }
    void add(uint32_t slot) {
        UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        const int on = 1;
        socklen_t length = sizeof address;
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        BOOST_REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
        BOOST_REQUIRE(::listen(fd.get(), 4096) == 0);
        BOOST_REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
        group.add(slot, fd.get());
        sockets.push_back(std::move(fd));
    }
    // How many of `count` connections each socket got.
    std::vector<int> connect(int count) {
        std::vector<int> got(kSockets);
        for (int i = 0; i < count; ++i) {
            const UniqueFd client(::socket(AF_INET, SOCK_STREAM, 0));
            BOOST_REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) ==
                          0);
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
    const auto chosen = choices({1, 2, 5}, 3000);
    BOOST_TEST(chosen.size() == 3U);
    for (const uint32_t index : {1U, 2U, 5U}) BOOST_TEST(chosen.at(index) == 1000);
}

BOOST_AUTO_TEST_CASE(a_single_index_is_always_chosen) { BOOST_TEST(choices({3}, 100).at(3) == 100); }

BOOST_AUTO_TEST_CASE(with_no_index_the_kernel_is_left_to_its_hash) {
    BOOST_TEST(choices({}, 10).at(0xFFFFFFFF) == 10);
}

BOOST_AUTO_TEST_CASE(as_many_slots_as_there_may_be_fit_a_program) {
    std::vector<uint32_t> indices;
    for (uint32_t i = 0; i < 256; ++i) indices.push_back(i);
    BOOST_TEST(steering_program(indices).size() < static_cast<size_t>(BPF_MAXINSNS));
    const auto chosen = choices(indices, 256);
    BOOST_TEST(chosen.size() == 256U);
}

BOOST_AUTO_TEST_CASE(the_kernel_spreads_connections_over_a_group) {
    Group listeners;
    BOOST_REQUIRE(listeners.group.steer({0, 1, 2, 3}));
    const auto got = listeners.connect(4000);
    for (const int count : got) {
        BOOST_TEST(count > 850);
        BOOST_TEST(count < 1150);
    }
}

BOOST_AUTO_TEST_CASE(slots_out_of_service_get_nothing) {
    Group listeners;
    BOOST_REQUIRE(listeners.group.steer({0, 1, 2, 3}));
    BOOST_REQUIRE(listeners.group.steer({1, 3}));
    const auto got = listeners.connect(400);
    BOOST_TEST(got[0] == 0);
    BOOST_TEST(got[2] == 0);
    BOOST_TEST(got[1] + got[3] == 400);
    BOOST_REQUIRE(listeners.group.steer({2}));
    BOOST_TEST(listeners.connect(100)[2] == 100);
}

BOOST_AUTO_TEST_CASE(slots_that_are_no_members_change_nothing) {
    Group listeners;
    BOOST_REQUIRE(listeners.group.steer({2}));
    BOOST_REQUIRE(listeners.group.steer({7, 9}));
    BOOST_TEST(listeners.connect(50)[2] == 50);
}

BOOST_AUTO_TEST_SUITE_END()
