#include "daemon/slot/control_message.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "daemon/base/fields.h"
#include "tests/unit/in_child.h"

using namespace tcpd;
using namespace tcpd::slot;

namespace {

struct Pair {
    UniqueFd master, slot;
    Pair() {
        int ends[2];
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        master.reset(ends[0]);
        slot.reset(ends[1]);
    }
};

ErrorCode code_of_next(int fd) {
    auto got = receive_message(fd);
    BOOST_REQUIRE(!got);
    return got.error().code;
}

bool is_same_file(int a, int b) {
    struct stat first {
    }, second{};
    return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_ino == second.st_ino &&
           first.st_dev == second.st_dev;
}

// The padding behind one descriptor has room for a second.
void send_with_descriptors(int fd, const std::vector<int>& given, bool is_empty = false) {
    FieldWriter writer;
    writer("type", MessageType::started, "a", uint64_t{1});
    iovec part{const_cast<char*>(writer.bytes().data()), is_empty ? 0 : writer.bytes().size()};
    std::vector<char> room(CMSG_SPACE(given.size() * sizeof(int)));
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = room.data();
    header.msg_controllen = room.size();
    cmsghdr* head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(given.size() * sizeof(int));
    std::memcpy(CMSG_DATA(head), given.data(), given.size() * sizeof(int));
    BOOST_REQUIRE(::sendmsg(fd, &header, 0) >= 0);
}

int lowest_free() {
    const UniqueFd next(::fcntl(0, F_DUPFD_CLOEXEC, 0));
    return next.get();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(control_message)

BOOST_AUTO_TEST_CASE(a_message_arrives_whole) {
    Pair pair;
    BOOST_REQUIRE(send_message(pair.slot.get(), {MessageType::seated, 1, 2, 3}));
    auto got = receive_message(pair.master.get());
    BOOST_REQUIRE(got);
    BOOST_TEST((got->message.type == MessageType::seated));
    BOOST_TEST(got->message.a == 1U);
    BOOST_TEST(got->message.b == 2U);
    BOOST_TEST(got->message.c == 3U);
    BOOST_TEST(!got->descriptor);
}

BOOST_AUTO_TEST_CASE(a_log_comes_with_its_descriptor) {
    Pair pair;
    UniqueFd log(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    BOOST_REQUIRE(send_message(pair.master.get(), {MessageType::replace_log}, log.get()));
    auto got = receive_message(pair.slot.get());
    BOOST_REQUIRE(got);
    BOOST_REQUIRE(got->descriptor);
    BOOST_TEST(is_same_file(got->descriptor.get(), log.get()));
    BOOST_TEST((::fcntl(got->descriptor.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

BOOST_AUTO_TEST_CASE(nothing_waiting_and_the_end_are_told_apart) {
    Pair pair;
    BOOST_TEST((code_of_next(pair.slot.get()) == ErrorCode::timed_out));
    pair.master.reset();
    BOOST_TEST((code_of_next(pair.slot.get()) == ErrorCode::unavailable));
}

BOOST_AUTO_TEST_CASE(what_a_dead_master_had_sent_is_read_before_its_end) {
    Pair pair;
    BOOST_REQUIRE(send_message(pair.slot.get(), {MessageType::started}));  // never read
    BOOST_REQUIRE(send_message(pair.master.get(), {MessageType::drain}));
    pair.master.reset();
    auto got = receive_message(pair.slot.get());
    BOOST_REQUIRE(got);
    BOOST_TEST((got->message.type == MessageType::drain));
    BOOST_TEST((code_of_next(pair.slot.get()) == ErrorCode::unavailable));
    auto sent = send_message(pair.slot.get(), {MessageType::serving});
    BOOST_REQUIRE(!sent);
    BOOST_TEST((sent.error().code == ErrorCode::unavailable));
}

BOOST_AUTO_TEST_CASE(a_full_socket_never_blocks) {
    Pair pair;
    for (int i = 0; i < 100'000; ++i) {
        auto sent = send_message(pair.slot.get(), {MessageType::serving});
        if (sent) continue;
        BOOST_TEST((sent.error().code == ErrorCode::timed_out));
        return;
    }
    BOOST_FAIL("100,000 unread messages fitted");
}

BOOST_AUTO_TEST_CASE(malformed_messages_are_refused) {
    Pair pair;
    BOOST_REQUIRE(send_message(pair.master.get(), {MessageType::birth}));
    BOOST_REQUIRE(send_message(pair.master.get(), {MessageType{0}}));
    const char short_name[] = {9, 't', 'y'}, short_number[] = {4, 't', 'y', 'p', 'e', 1, 0, 0, 0, 5};
    ::send(pair.master.get(), short_name, sizeof short_name, 0);
    ::send(pair.master.get(), short_number, sizeof short_number, 0);
    ::send(pair.master.get(), std::string(5000, 'x').data(), 5000, 0);
    for (int i = 0; i < 5; ++i) BOOST_TEST((code_of_next(pair.slot.get()) == ErrorCode::bad_format));
    BOOST_TEST((code_of_next(pair.slot.get()) == ErrorCode::timed_out));
}

// Of a later version: whoever reads it says so and goes on.
BOOST_AUTO_TEST_CASE(an_unknown_type_is_no_error_and_its_descriptor_is_closed_with_it) {
    Pair pair;
    BOOST_REQUIRE(send_message(pair.master.get(), {MessageType{9'999}, 5}, pair.slot.get()));
    auto got = receive_message(pair.slot.get());
    BOOST_REQUIRE(got);
    BOOST_TEST(static_cast<uint32_t>(got->message.type) == 9'999U);
    BOOST_TEST(got->message.a == 5U);
}

BOOST_AUTO_TEST_CASE(a_descriptor_comes_with_those_messages_that_bring_one) {
    Pair pair;
    for (const auto type : {MessageType::replace_log, MessageType::hand_over, MessageType::receive_table}) {
        BOOST_REQUIRE(send_message(pair.master.get(), {type}));
        BOOST_TEST((code_of_next(pair.slot.get()) == ErrorCode::bad_format));
        BOOST_REQUIRE(send_message(pair.master.get(), {type, 5}, pair.slot.get()));
        auto got = receive_message(pair.slot.get());
        BOOST_REQUIRE(got);
        BOOST_TEST(bool{got->descriptor});
    }
    BOOST_REQUIRE(send_message(pair.master.get(), {MessageType::replace_log}));
    BOOST_TEST((code_of_next(pair.slot.get()) == ErrorCode::bad_format));
}

// What was to come with it is not there, but the message is: whoever sent it waits for an answer.
BOOST_AUTO_TEST_CASE(a_descriptor_that_has_no_number_is_said_to_be_cut_off) {
    Pair pair;
    const UniqueFd log(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    BOOST_REQUIRE(send_message(pair.master.get(), {MessageType::replace_log}, log.get()));
    BOOST_TEST(test::holds_in_child([&pair] {
        const rlimit none{static_cast<rlim_t>(pair.slot.get()) + 1, static_cast<rlim_t>(pair.slot.get()) + 1};
        ::setrlimit(RLIMIT_NOFILE, &none);
        while (::fcntl(0, F_DUPFD_CLOEXEC, 0) >= 0) {
        }
        const auto got = receive_message(pair.slot.get());
        const std::string why = cut_error().text();
        return got && got->is_cut && !got->descriptor && got->message.type == MessageType::replace_log &&
               why.find("Too many open files (this process has all that it may have") != std::string::npos;
    }));
}

// A worker in foreign hands would fill its master's descriptor table with what is left open.
BOOST_AUTO_TEST_CASE(no_descriptor_that_nobody_asked_for_stays_open) {
    Pair pair;
    const int lowest = lowest_free();
    for (const size_t count : {1, 2, 3, 100}) {
        send_with_descriptors(pair.slot.get(), std::vector<int>(count, pair.slot.get()));
        (void)receive_message(pair.master.get());
        BOOST_TEST_INFO(count << " descriptors");
        BOOST_TEST(lowest_free() == lowest);
    }
    send_with_descriptors(pair.slot.get(), {pair.slot.get()}, true);
    BOOST_TEST((code_of_next(pair.master.get()) == ErrorCode::unavailable));
    BOOST_TEST(lowest_free() == lowest);
}

BOOST_AUTO_TEST_CASE(a_birth_keeps_listeners_and_sockets_in_order) {
    Pair pair;
    Birth birth{.image = 7,
                .slot = 2,
                .slots = 4,
                .descriptor_limit = 20'000,
                .connection_room = 19'000,
                .log_level = 3,
                .is_renewal = true,
                .cause = Cause::upgrade,
                .owners = {},
                .sockets = {},
                .descriptors = known_descriptors()};
    for (uint32_t i = 0; i < 256; ++i)
        birth.owners.push_back({i % 3, i, kBundleFd, i + 1, 1, 0, i + 2, i + 3});
    for (uint32_t i = 0; i < 1'000; ++i)
        birth.sockets.push_back({i % 256, static_cast<int>(i) + kFirstListenFd, i % 2, i % 5, i % 3});
    BOOST_REQUIRE(send_birth(pair.master.get(), birth));
    auto got = receive_birth(pair.slot.get());
    BOOST_REQUIRE(got);
    BOOST_TEST(got->image == 7U);
    BOOST_TEST(got->slot == 2U);
    BOOST_TEST(got->slots == 4U);
    BOOST_TEST(got->descriptor_limit == 20'000U);
    BOOST_TEST(got->connection_room == 19'000U);
    BOOST_TEST(got->log_level == 3U);
    BOOST_TEST(got->is_renewal);
    BOOST_REQUIRE(got->owners.size() == 256U);
    BOOST_TEST(got->owners[254].kind == 2U);
    BOOST_TEST(got->owners[255].id == 255U);
    BOOST_TEST(got->owners[255].bundle_fd == kBundleFd);
    BOOST_TEST(got->owners[255].index == 256U);
    BOOST_TEST(got->owners[255].drain_begin_ns == 257U);
    BOOST_TEST(got->owners[255].drain_end_ns == 258U);
    BOOST_REQUIRE(got->sockets.size() == 1'000U);
    BOOST_TEST(got->sockets[999].listener_id == 999U % 256);
    BOOST_TEST(got->sockets[999].fd == 999 + kFirstListenFd);
    BOOST_TEST(got->sockets[999].is_unix == 1U);
    BOOST_TEST(got->sockets[998].is_shared == 998U % 5);
    BOOST_TEST(got->sockets[998].closing == 998U % 3);
    BOOST_REQUIRE(got->descriptors.size() == known_descriptors().size());
    BOOST_TEST(got->descriptors.back().name == "buffers");
    BOOST_TEST(got->descriptors.back().fd == kBuffersFd);
}

BOOST_AUTO_TEST_CASE(a_birth_may_have_no_socket) {
    Pair pair;
    BOOST_REQUIRE(send_birth(pair.master.get(), Birth{.image = 1}));
    auto got = receive_birth(pair.slot.get());
    BOOST_REQUIRE(got);
    BOOST_TEST(got->sockets.empty());
    BOOST_TEST(!got->is_renewal);
}

BOOST_AUTO_TEST_CASE(a_false_birth_is_refused) {
    Pair pair;
    const std::string cut = {5, 'i', 'm', 'a', 'g', 'e', 8, 0, 0, 0, 1};
    ::send(pair.master.get(), cut.data(), cut.size(), 0);
    ::send(pair.master.get(), "", 1, 0);
    BOOST_REQUIRE(send_message(pair.master.get(), {MessageType::drain}));
    for (int i = 0; i < 3; ++i) {
        auto got = receive_birth(pair.slot.get());
        BOOST_REQUIRE(!got);
        BOOST_TEST((got.error().code == ErrorCode::bad_format));
    }
    pair.master.reset();
    BOOST_TEST((receive_birth(pair.slot.get()).error().code == ErrorCode::unavailable));
}

BOOST_AUTO_TEST_SUITE_END()
