#include "daemon/base/log/output.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstring>

#include "daemon/base/unique_fd.h"
#include "tests/unit/in_child.h"

using namespace tcpd;
using log::Output;

namespace {

std::string notice(uint64_t lines, int sys_errno) {
    return std::to_string(lines) + " dropped: " + strerror(sys_errno) + "\n";
}

std::string contents(int fd) {
    char text[4096];
    ssize_t bytes = pread(fd, text, sizeof text, 0);
    return std::string(text, bytes > 0 ? static_cast<size_t>(bytes) : 0);
}

std::string receive(int fd) {
    char text[1 << 16];
    ssize_t bytes = read(fd, text, sizeof text);
    return std::string(text, bytes > 0 ? static_cast<size_t>(bytes) : 0);
}

struct Pipe {
    Pipe() {
        int ends[2];
        BOOST_REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
        reading.reset(ends[0]);
        writing.reset(ends[1]);
        fcntl(writing.get(), F_SETPIPE_SZ, 4096);
    }
    UniqueFd reading, writing;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(log_output)

BOOST_AUTO_TEST_CASE(lines_go_to_the_descriptor) {
    UniqueFd file(memfd_create("log", MFD_CLOEXEC));
    Output output;
    output.open(file.get(), notice);
    output.write("one\n");
    output.write("two\nthree\n");
    BOOST_TEST(contents(file.get()) == "one\ntwo\nthree\n");
    BOOST_TEST(output.dropped() == 0U);
}

BOOST_AUTO_TEST_CASE(a_full_disk_drops_lines_and_says_so_once_it_can) {
    UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC)), file(memfd_create("log", MFD_CLOEXEC));
    Output output;
    output.open(full.get(), notice);
    output.write("one\n");
    output.write("two\nthree\n");
    BOOST_TEST(output.dropped() == 3U);
    dup3(file.get(), full.get(), O_CLOEXEC);
    output.write("four\n");
    output.write("five\n");
    BOOST_TEST(contents(file.get()) == "3 dropped: No space left on device\nfour\nfive\n");
    BOOST_TEST(output.dropped() == 3U);
}

// A file-size limit is a disk that fills up in the middle of a line.
BOOST_AUTO_TEST_CASE(a_torn_line_is_ended_before_the_next) {
    UniqueFd file(memfd_create("log", MFD_CLOEXEC));
    bool dropped = test::holds_in_child([&file] {
        Output output;
        output.open(file.get(), notice);
        rlimit limit{6, RLIM_INFINITY};
        setrlimit(RLIMIT_FSIZE, &limit);
        output.write("one\n");
        output.write("second\n");
        output.write("third\n");
        limit.rlim_cur = RLIM_INFINITY;
        setrlimit(RLIMIT_FSIZE, &limit);
        output.write("four\n");
        return output.dropped() == 2;
    });
    BOOST_TEST(dropped);
    BOOST_TEST(contents(file.get()) == "one\nse\n2 dropped: File too large\nfour\n");
}

BOOST_AUTO_TEST_CASE(a_reader_that_is_gone_costs_lines_and_no_life) {
    Pipe pipe;
    bool lived = test::holds_in_child([&pipe] {
        signal(SIGPIPE, SIG_DFL);
        pipe.reading.reset();
        Output output;
        output.open(pipe.writing.get(), notice);
        output.write("one\n");
        return output.dropped() == 1;
    });
    BOOST_TEST(!lived);  // our own end is still open: nothing is dropped
    pipe.reading.reset();
    lived = test::holds_in_child([&pipe] {
        signal(SIGPIPE, SIG_DFL);
        Output output;
        output.open(pipe.writing.get(), notice);
        output.write("one\n");
        return output.dropped() == 1;
    });
    BOOST_TEST(lived);
}

BOOST_AUTO_TEST_CASE(a_reader_that_is_stuck_blocks_once_and_shortly) {
    Pipe pipe;
    Output output;
    output.open(pipe.writing.get(), notice);
    output.write("one\n");
    auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 1000; ++i) output.write("more\n");
    BOOST_TEST((std::chrono::steady_clock::now() - begun < 250 * Output::kPatience));
    BOOST_TEST(output.dropped() == 1000U);
    BOOST_TEST(receive(pipe.reading.get()) == "one\n");
    output.write("last\n");
    BOOST_TEST(receive(pipe.reading.get()) == "1000 dropped: Resource temporarily unavailable\n");
    BOOST_TEST(output.dropped() == 1001U);
}

BOOST_AUTO_TEST_CASE(a_stuck_socket_does_not_block) {
    int ends[2];
    BOOST_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    UniqueFd reading(ends[0]), writing(ends[1]);
    Output output;
    output.open(writing.get(), notice);
    std::string line(1000, 'x');
    line += '\n';
    for (int i = 0; i < 1000; ++i) output.write(line);
    BOOST_TEST(output.dropped() > 0U);
    BOOST_TEST(output.dropped() < 1000U);
}

BOOST_AUTO_TEST_CASE(many_lines_reach_a_pipe_in_whole_lines_of_at_most_one_atomic_write) {
    Pipe pipe;
    fcntl(pipe.writing.get(), F_SETPIPE_SZ, 1 << 16);
    fcntl(pipe.writing.get(), F_SETFL, O_DIRECT);  // each read shows one write
    std::string lines;
    for (int i = 0; i < 100; ++i) lines += std::string(99, 'x') + '\n';
    Output output;
    output.open(pipe.writing.get(), notice);
    output.write(lines);
    pipe.writing.reset();
    std::string got;
    for (std::string piece = receive(pipe.reading.get()); !piece.empty();
         piece = receive(pipe.reading.get())) {
        BOOST_TEST(piece.size() <= 4096U);
        BOOST_TEST(piece.ends_with('\n'));
        got += piece;
    }
    BOOST_TEST((got == lines));
}

BOOST_AUTO_TEST_CASE(a_closed_descriptor_is_an_error_like_any_other) {
    UniqueFd file(memfd_create("log", MFD_CLOEXEC));
    Output output;
    output.open(file.get(), notice);
    file.reset();
    output.write("one\n");
    BOOST_TEST(output.dropped() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
