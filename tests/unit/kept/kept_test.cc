// Slot memory and a master's state as the first version of these formats left them, kept as files: every later version
// adopts them. The files are never made anew; a later version adds its own beside them. Made by TCPD_KEEP_IN=FOLDER.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "daemon/base/process.h"
#include "master/reexec/state.h"
#include "tests/unit/kept/kept_state.h"
#include "tests/unit/worker/slot_fixture.h"

namespace tcpd::worker {

namespace {

constexpr size_t kPage = slot::kPageBytes;

std::string read_file(const std::string& name) {
    std::ifstream file(fmt::format("{}/{}", TCPD_KEPT_FOLDER, name), std::ios::binary);
    BOOST_REQUIRE(file.good());
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& folder, const std::string& name, const std::string& bytes) {
    std::ofstream file(fmt::format("{}/{}", folder, name), std::ios::binary);
    file << bytes;
    BOOST_REQUIRE(file.flush().good());
}

// The size, then each page that has something in it behind its offset.
std::string pages_of(int fd) {
    const auto bytes = static_cast<uint64_t>(::lseek(fd, 0, SEEK_END));
    std::string kept;
    kept.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    const std::string empty(kPage, '\0');
    std::string page(kPage, '\0');
    for (off_t at = ::lseek(fd, 0, SEEK_DATA); at >= 0;
         at = ::lseek(fd, at + static_cast<off_t>(kPage), SEEK_DATA)) {
        BOOST_REQUIRE(::pread(fd, page.data(), kPage, at) == static_cast<ssize_t>(kPage));
        if (page == empty) continue;
        const auto offset = static_cast<uint64_t>(at);
        kept.append(reinterpret_cast<const char*>(&offset), sizeof offset).append(page);
    }
    return kept;
}

UniqueFd memory_of(const std::string& kept) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, kept.data(), sizeof bytes);
    UniqueFd fd = make_sealed_memfd("tcpd-kept", bytes);
    BOOST_REQUIRE(fd);
    for (size_t at = sizeof bytes; at < kept.size(); at += sizeof(uint64_t) + kPage) {
        uint64_t offset = 0;
        std::memcpy(&offset, kept.data() + at, sizeof offset);
        BOOST_REQUIRE(::pwrite(fd.get(), kept.data() + at + sizeof offset, kPage,
                               static_cast<off_t>(offset)) == static_cast<ssize_t>(kPage));
    }
    return fd;
}

// In the files: an echo client with output that its socket has not taken, a pair with an end passed on, and a client
// whose connection had ended.
constexpr int kWithOutput = 300, kClient = 301, kServer = 302;
constexpr const char* kOutput = "what was not sent yet";

int moved(int fd, int to) {
    BOOST_REQUIRE(::dup3(fd, to, O_CLOEXEC) == to);
    ::close(fd);
    return to;
}

}  // namespace

struct KeptFixture : SlotFixture {
    // What it holds is put at the numbers that the files name.
    std::vector<Ends> sockets() {
        std::vector<Ends> ends;
        for (const int number : {kWithOutput, kClient, kServer}) {
            ends.push_back(connect_over_loopback());
            ends.back().server = moved(ends.back().server, number);
        }
        return ends;
    }
    void fill(std::vector<Ends>& ends) {
        Connections& connections = worker->connections;
        const Connection echo = connections.publish_accepted(kWithOutput, fields(0, slot::State::open), {});
        connections.watch(echo);
        const Connection client = connections.publish_accepted(kClient, fields(1, slot::State::open), {});
        connections.watch(client);
        const Connection server = connections.publish_dialled(kServer, dialled(client), client);
        connections.publish_dial_done(server, client);
        connections.watch(server);
        write_all(ends[1].client.get(), "ping");
        worker->turn();
        BOOST_TEST(read_now(ends[2].client.get()) == "ping");
        keep_output(echo);
        Ends gone = echo_client();
        gone.client.reset();
        worker->turn();
    }
    slot::Record dialled(Connection client) {
        slot::Record record = fields(1, slot::State::dialing);
        auto word = slot::RecordWord::unpack(record.word);
        word.kind = slot::Kind::dialled_tcp;
        record.word = word.pack();
        record.peer = client.tag();
        return record;
    }
    void keep_output(Connection echo) {
        slot::ChunkPool& chunks = worker->connections.chunks();
        const slot::ChunkId chunk = chunks.take_small();
        std::strcpy(chunks.data(chunk), kOutput);
        chunks.link(chunk).range = std::strlen(kOutput);
        echo->received = echo->out_bytes = std::strlen(kOutput);
        echo->out = uint64_t{chunk} << 32 | chunk;
    }
};

BOOST_FIXTURE_TEST_SUITE(kept, KeptFixture)

BOOST_AUTO_TEST_CASE(slot_memory_of_the_first_version_is_adopted) {
    std::vector<Ends> ends = sockets();
    if (const char* folder = std::getenv("TCPD_KEEP_IN")) {
        fill(ends);
        write_file(folder, "slot-4-1.board", pages_of(fds.board.get()));
        write_file(folder, "slot-4-1.buffers", pages_of(fds.buffers.get()));
        return;
    }
    worker.reset();
    memory.~SlotMemory();
    fds = {memory_of(read_file("slot-4-1.board")), memory_of(read_file("slot-4-1.buffers"))};
    auto mapped = slot::SlotMemory::map(fds.board.get(), fds.buffers.get());
    BOOST_REQUIRE_MESSAGE(mapped, (mapped ? "" : mapped.error().text()));
    new (&memory) slot::SlotMemory(std::move(*mapped));
    BOOST_REQUIRE(memory.carve(fds.board.get(), fds.buffers.get()));
    succeed();
    BOOST_TEST(lost() == 0u);
    BOOST_TEST(worker->connections.open_count() == 3u);
    BOOST_TEST(memory.counters_of(0).accepted == 2u);
    BOOST_TEST(memory.counters_of(0).closed[static_cast<size_t>(slot::CloseReason::finished)] == 1u);
    worker->connections.watch_all_anew();  // the epoll set is not in the files
    worker->turn();
    BOOST_TEST(read_now(ends[0].client.get()) == kOutput);
    write_all(ends[2].client.get(), "pong");
    write_all(ends[1].client.get(), "once more");
    worker->turn();
    BOOST_TEST(read_now(ends[1].client.get()) == "pong");
    BOOST_TEST(read_now(ends[2].client.get()) == "once more");
    BOOST_TEST(at(kClient)->received == 13u);
}

BOOST_AUTO_TEST_CASE(a_master_reads_the_state_that_the_first_version_left) {
    if (const char* folder = std::getenv("TCPD_KEEP_IN"))
        return write_file(folder, "master-4-1.state", master::encode(master::state_to_keep()));
    const auto read = master::decode(read_file("master-4-1.state"));
    BOOST_REQUIRE_MESSAGE(read, (read ? "" : read.error().text()));
    BOOST_TEST(read->version == "1.2.3");
    BOOST_TEST(read->clients.at(0).unsent.at(0) == "some");
    BOOST_TEST(read->addresses.at(0).address == "0.0.0.0:7000");
    BOOST_TEST(read->addresses.at(0).sockets.at(1) == -1);
    BOOST_TEST(read->crew.slots.at(0).buffers_fd == 29);
    BOOST_TEST(read->crew.generations.at(0).roster.at(0).name == "echo");
    BOOST_TEST(read->crew.supervisor.slots.size() == master::state_to_keep().crew.supervisor.slots.size());
    BOOST_TEST(master::unknown_descriptors(*read).empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker
