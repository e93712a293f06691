#include "master/reexec/state.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>

using namespace tcpd::master;

namespace {

MasterState filled() {
    MasterState state;
    state.version = "1.2.3";
    state.config_path = "/etc/tcpd/tcpd.yaml";
    state.program_path = "/usr/sbin/tcpd";
    state.has_log_level = true;
    state.log_level = 2;
    state.begun_ns = 77;
    state.program_fd = 11;
    state.counts_fd = 12;
    state.log_fd = 13;
    state.address_counts_fd = 26;
    state.descriptor_limit = 20000;
    state.control_file = {"/run/tcpd/tcpd.pid.ctl", 5, 6};
    state.control_fd = 14;
    state.last_request = 9;
    state.clients = {{8, 15, true, false, {"some", ""}}, {9, 16, false, false, {}}};
    state.askers = {8};
    state.change_waits = true;
    state.waiting_askers = {1, 2};
    state.listen_slots = {0, 1};
    state.addresses = {{.id = 3,
                        .wanted = "*:0",
                        .address = "0.0.0.0:7000",
                        .sockets = {17, -1},
                        .group_slots = {1, 0},
                        .passed = 18,
                        .group_table = 0,
                        .group_row = 5}};
    state.group_tables = {{.program = 19, .groups = 20, .choices = 27, .sockets = 28, .rows = 16}};
    state.inherited = {{"web", 18}};
    SavedSlot slot;
    slot.is_held = true;
    slot.memory_fd = 21;
    slot.channel.fd = 22;
    slot.former = {SavedChannel{.fd = 23}};
    state.crew.slots = {slot, SavedSlot{}};
    state.crew.names = {"echo"};
    state.crew.generations = {{.number = 1, .program_fd = 24, .bundle_fd = 25, .roster = {{.name = "echo"}}}};
    return state;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(state)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
    const std::string bytes = encode(filled());
    const auto read = decode(bytes);
    BOOST_REQUIRE(read);
    BOOST_TEST(encode(*read) == bytes);
    BOOST_TEST(read->program_path == "/usr/sbin/tcpd");
    BOOST_TEST(read->has_log_level);
    BOOST_TEST(read->clients.at(0).unsent.at(0) == "some");
    BOOST_TEST(read->clients.at(0).asked);
    BOOST_TEST(!read->clients.at(1).asked);
    BOOST_TEST(read->addresses.at(0).sockets.at(1) == -1);
    BOOST_TEST(read->addresses.at(0).group_row == 5U);
    BOOST_TEST(read->group_tables.at(0).rows == 16U);
    BOOST_TEST(read->inherited.at(0).name == "web");
    BOOST_TEST(read->crew.generations.at(0).roster.at(0).name == "echo");
}

BOOST_AUTO_TEST_CASE(every_descriptor_in_it_is_kept_open) {
    std::vector<int> kept = descriptors_of(filled());
    std::sort(kept.begin(), kept.end());
    kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
    std::vector<int> expected;
    for (int fd = 11; fd <= 28; ++fd) expected.push_back(fd);
    BOOST_TEST(kept == expected);
}

BOOST_AUTO_TEST_CASE(what_is_cut_or_longer_is_refused) {
    const std::string bytes = encode(filled());
    for (size_t length = 0; length < bytes.size(); ++length) {
        BOOST_TEST(!decode(std::string_view(bytes).substr(0, length)), length);
    }
    BOOST_TEST(!decode(bytes + '\0'));
}

// Nothing to rely on is left of them, but the program that reads them goes on.
BOOST_AUTO_TEST_CASE(false_bytes_do_no_harm) {
    const std::string bytes = encode(filled());
    for (size_t at = 0; at < bytes.size(); ++at) {
        std::string spoilt = bytes;
        spoilt[at] = static_cast<char>(spoilt[at] ^ 0xFF);
        (void)decode(spoilt);
    }
}

BOOST_AUTO_TEST_CASE(another_format_is_named) {
    MasterState other = filled();
    other.format = kStateFormat + 1;
    const auto read = decode(encode(other));
    BOOST_REQUIRE(!read);
    BOOST_TEST(read.error().text().find("version 1.2.3") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
