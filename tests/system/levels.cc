// A connection that needs what only a later version knows: an image that does not know it takes nothing, says what it
// is, and nothing is lost. Its part is played by a hand that writes into slot memory.

#include <fcntl.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "daemon/base/unique_fd.h"
#include "daemon/slot/control_message.h"
#include "daemon/slot/slot_memory.h"
#include "tests/support/blocking_client.h"
#include "tests/support/conditions.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr const char* kConfig = "workers: 1\nlisteners: {echo: {listen: 127.0.0.1:0, handler: echo}}\n";

// The board of a slot, for writing.
UniqueFd board_of(pid_t worker) {
    const std::string path = "/proc/" + std::to_string(worker) + "/fd/" + std::to_string(slot::kBoardFd);
    UniqueFd board(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    BOOST_REQUIRE(board);
    return board;
}

template <typename T>
void write_at(const UniqueFd& board, slot::PartKind kind, size_t offset, const T& value) {
    slot::PartsHeader header;
    BOOST_REQUIRE(::pread(board.get(), &header, sizeof header, 0) == sizeof header);
    const slot::Part* part = slot::Parts(header).find(kind);
    BOOST_REQUIRE(part != nullptr);
    BOOST_REQUIRE(::pwrite(board.get(), &value, sizeof value, static_cast<off_t>(part->at + offset)) ==
                  sizeof value);
}

// As a program of level 9 leaves it: first what the slot needs, then the record.
void need_level_9(pid_t worker) {
    const UniqueFd board = board_of(worker);
    slot::Name name{};
    std::strcpy(name.text, "tls");
    write_at(board, slot::PartKind::level_names, 9 * sizeof name, name);
    write_at(board, slot::PartKind::worker_control, offsetof(slot::WorkerControl, needs), uint32_t{9});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(levels, *boost::unit_test::precondition(is_root))

BOOST_AUTO_TEST_CASE(an_image_that_does_not_know_a_level_takes_nothing_and_names_it) {
    TestDaemon daemon(DaemonOptions{.config = kConfig});
    BlockingClient client(daemon.address("echo"));
    BOOST_REQUIRE(client.echoes("hello"));
    const pid_t worker = daemon.pids(0).worker;
    need_level_9(worker);
    for (int i = 0; i < 2; ++i) {
        const Output refused = daemon.verb("reload");
        BOOST_TEST(refused.exit != 0);
        BOOST_TEST(refused.err.find("a connection needs what only a later version knows") !=
                   std::string::npos);
    }
    BOOST_TEST(
        daemon.count_in_err("the slot needs \"tls\" (level 9), and this program knows levels up to 1") >= 2u);
    BOOST_TEST(daemon.pids(0).worker == worker);
    const Output upgrade = daemon.verb("upgrade");
    BOOST_TEST(upgrade.exit != 0);
    BOOST_TEST(upgrade.err.find("it knows levels of slot memory up to 1, and \"tls\" (level 9) is in use") !=
               std::string::npos);
    BOOST_TEST(client.echoes("still here"));
    daemon.check_nothing_lost();
}

// A part of a later version lies behind those that are known.
BOOST_AUTO_TEST_CASE(parts_of_a_later_version_outlive_deaths_and_renewals) {
    TestDaemon daemon(DaemonOptions{.config = kConfig});
    BlockingClient client(daemon.address("echo"));
    BOOST_REQUIRE(client.echoes("hello"));
    const UniqueFd board = board_of(daemon.pids(0).worker);
    slot::PartsHeader header;
    BOOST_REQUIRE(::pread(board.get(), &header, sizeof header, 0) == sizeof header);
    const auto part = slot::Parts(header).place({slot::PartKind{60}, 9, 128, 1000}, header.bytes);
    BOOST_REQUIRE(part.has_value());
    header.parts[header.part_count++] = *part;
    BOOST_REQUIRE(::pwrite(board.get(), &header, sizeof header, 0) == sizeof header);
    const uint64_t mark = 0x600D600D;
    BOOST_REQUIRE(::pwrite(board.get(), &mark, sizeof mark, static_cast<off_t>(part->at)) == sizeof mark);
    daemon.kill_worker(0);
    BOOST_TEST(daemon.verb("reload").exit == 0);
    BOOST_TEST(daemon.verb("upgrade").exit == 0);
    uint64_t found = 0;
    BOOST_REQUIRE(::pread(board.get(), &found, sizeof found, static_cast<off_t>(part->at)) == sizeof found);
    BOOST_TEST(found == mark);
    BOOST_TEST(client.echoes("still here"));
    daemon.check_nothing_lost();
}

BOOST_AUTO_TEST_SUITE_END()
