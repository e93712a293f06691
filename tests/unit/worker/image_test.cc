#include "worker/image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <string>

#include "conf/source.h"
#include "tests/unit/worker/forked_child.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr uint32_t kRecords = 256;

// What a master gives an image, as it should be; a test spoils one thing of it.
struct Gifts {
    slot::SlotFds memory;
    UniqueFd counts, addresses, bundle;
    slot::Birth birth{.image = 1, .slot = 0, .slots = 1, .descriptor_limit = kRecords};
    bool sends_birth = true;

    Gifts() {
        auto made_memory = slot::SlotMemory::create({.slot_number = 0, .record_count = kRecords});
        auto made_counts = slot::SharedCounts::create();
        auto made_addresses = slot::AddressCounts::create(kRecords);
        BOOST_REQUIRE(made_memory && made_counts && made_addresses);
        addresses = std::move(*made_addresses);
        memory = std::move(*made_memory);
        counts = std::move(*made_counts);
        give_config("listeners: {e: {listen: 127.0.0.1:7000, handler: echo}}\n");
    }
    void give_config(const std::string& text) {
        conf::Snapshot snapshot;
        snapshot.main_path = "/tcpd.yaml";
        snapshot.files["/tcpd.yaml"] = text;
        auto made = conf::make_bundle(snapshot);
        BOOST_REQUIRE(made);
        bundle = std::move(*made);
    }
};

struct Outcome {
    int exit = -1;
    std::string log;
};

// Above all numbers that an image is given, so that none is overwritten before it was put in its place.
int lift(int fd) { return ::fcntl(fd, F_DUPFD, 200); }

void lay_out(const Gifts& gifts, int control, int log) {
    const int lifted[] = {
        lift(control), lift(gifts.memory.board.get()), lift(gifts.counts.get()), lift(gifts.bundle.get()),
        lift(log),     lift(gifts.addresses.get())};
    const int buffers = lift(gifts.memory.buffers.get());
    for (int i = 0; i < 6; ++i) ::dup2(lifted[i], slot::kControlFd + i);
    ::dup2(buffers, slot::kBuffersFd);
    ::close_range(slot::kBuffersFd + 1, ~0U, 0);
}

std::string read_rest(int fd) {
    std::string text;
    char part[1024];
    for (ssize_t got = 0; (got = ::read(fd, part, sizeof part)) > 0;)
        text.append(part, static_cast<size_t>(got));
    return text;
}

Outcome start(const Gifts& gifts) {
    int control[2], log[2];
    BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0);
    BOOST_REQUIRE(::pipe2(log, O_CLOEXEC) == 0);
    UniqueFd master(control[0]), slot(control[1]), log_read(log[0]), log_write(log[1]);
    if (gifts.sends_birth) BOOST_REQUIRE(slot::send_birth(master.get(), gifts.birth));
    ForkedChild child([&] {
        lay_out(gifts, slot.get(), log_write.get());
        worker::run_image();
        return 0;
    });
    log_write.reset();
    return {child.wait(), read_rest(log_read.get())};
}

bool says(const Outcome& outcome, const char* text) { return outcome.log.find(text) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(image)

BOOST_AUTO_TEST_CASE(without_a_birth_it_says_so_and_ends) {
    Gifts gifts;
    gifts.sends_birth = false;
    const Outcome outcome = start(gifts);
    BOOST_TEST(outcome.exit == kExitSystem);
    BOOST_TEST_CONTEXT(outcome.log) BOOST_TEST(says(outcome, "could not read a control message"));
}

BOOST_AUTO_TEST_CASE(a_bundle_that_is_none_is_a_bad_config) {
    Gifts gifts;
    gifts.bundle.reset(::memfd_create("rubbish", MFD_CLOEXEC));
    const Outcome outcome = start(gifts);
    BOOST_TEST(outcome.exit == kExitConfig);
    BOOST_TEST_CONTEXT(outcome.log) BOOST_TEST(says(outcome, " error "));
}

BOOST_AUTO_TEST_CASE(a_config_with_problems_names_them) {
    Gifts gifts;
    gifts.give_config("listeners: {e: {listen: 127.0.0.1:70000, handler: echo}}\n");
    const Outcome outcome = start(gifts);
    BOOST_TEST(outcome.exit == kExitConfig);
    BOOST_TEST_CONTEXT(outcome.log) BOOST_TEST(says(outcome, "/tcpd.yaml:1:"));
}

BOOST_AUTO_TEST_CASE(memory_of_another_slot_is_refused) {
    Gifts gifts;
    gifts.birth.slot = 5;
    const Outcome outcome = start(gifts);
    BOOST_TEST(outcome.exit == kExitSystem);
    BOOST_TEST_CONTEXT(outcome.log) BOOST_TEST(says(outcome, "it is of slot 0, not 5"));
}

BOOST_AUTO_TEST_CASE(a_user_that_does_not_exist_is_named) {
    Gifts gifts;
    gifts.give_config("user: nobody-of-this-name\nlisteners: {e: {listen: 127.0.0.1:7000, handler: echo}}\n");
    const Outcome outcome = start(gifts);
    BOOST_TEST(outcome.exit != 0);
    BOOST_TEST_CONTEXT(outcome.log) BOOST_TEST(says(outcome, "nobody-of-this-name"));
}

// The service word names no image: what starts up in full is out of service and retires.
BOOST_AUTO_TEST_CASE(an_image_that_is_not_in_service_retires) {
    const Outcome outcome = start(Gifts());
    BOOST_TEST_CONTEXT(outcome.log) {
        BOOST_TEST(outcome.exit == slot::kExitRetired);
        BOOST_TEST(says(outcome, "worker 0 sandbox: "));
        BOOST_TEST(!says(outcome, " error "));
    }
}

BOOST_AUTO_TEST_SUITE_END()
