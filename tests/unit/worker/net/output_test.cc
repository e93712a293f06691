// What raw clients are owed and do not take.

#include "tests/unit/worker/slot_fixture.h"
#include "worker/net/socket_counts.h"

namespace tcpd::worker {

BOOST_AUTO_TEST_SUITE(worker_output)

BOOST_FIXTURE_TEST_CASE(over_its_budget_a_worker_keeps_little_for_each_client, SlotFixture) {
    slot::ChunkPool& chunks = worker->connections.chunks();
    BOOST_REQUIRE(chunks.take_small() != 0u);
    chunks.set_budgets(1, 0);
    const uint64_t before = chunks.used_bytes();
    const std::string piece(60'000, 'x');
    const int small = 4096;
    std::vector<Ends> all;
    for (int i = 0; i < 10; ++i) {
        const Ends& e = all.emplace_back(echo_client());
        setsockopt(e.server, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        for (int k = 0; k < 1000 && !at(e.server).has_output(); ++k) {
            (void)send(e.client.get(), piece.data(), piece.size(), MSG_DONTWAIT);
            worker->turn();
        }
        BOOST_TEST(at(e.server).has_output());
    }
    BOOST_TEST(chunks.used_bytes() <= before + all.size() * slot::kSmallChunkBytes);
}

// Where nobody listens at a port, a dial from that very port succeeds, with itself.
BOOST_FIXTURE_TEST_CASE(a_dial_that_came_back_to_itself, SlotFixture) {
    const UniqueFd self(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    BOOST_REQUIRE(::bind(self.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
    // To the address that stands for all of them.
    Address own = *Address::parse("0.0.0.0:1", false);
    own.set_port(Address::of_socket(self.get())->port());
    BOOST_REQUIRE(::connect(self.get(), own.get(), own.length()) == 0);
    BOOST_TEST(is_connected_to_itself(self.get()));
    const Ends other = connect_over_loopback();
    BOOST_TEST(!is_connected_to_itself(other.client.get()));
    ::close(other.server);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
