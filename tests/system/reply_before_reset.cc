// A server that answers and closes with unread input resets its connection behind the answer, and a client may do the
// same behind its last words: what they had sent goes through, whatever the worker was busy with, and then the other
// end is reset as well. The test plays the server.

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>

#include "tests/support/blocking_client.h"
#include "tests/support/framed_client.h"
#include "tests/support/process_view.h"
#include "tests/support/test_daemon.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

constexpr int kTimes = 20;

class Server {
public:
    explicit Server(const std::string& address)
        : address_(*Address::parse(address, true)),
          listener_(::socket(address_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        if (::bind(listener_.get(), address_.get(), address_.length()) != 0 ||
            ::listen(listener_.get(), 64) != 0)
            throw Failed("could not listen on " + address);
    }
    std::string text() const { return Address::of_socket(listener_.get())->text(); }
    void set_backlog(int connections) { ::listen(listener_.get(), connections); }
    BlockingClient accept() {
        return BlockingClient(UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    }

private:
    Address address_;
    UniqueFd listener_;
};

struct Way {
    std::string server, listen, framing;
};

// What is read up to the end, however it comes.
std::string all_of(const BlockingClient& client) {
    std::string bytes;
    char buffer[65536];
    for (ssize_t got; (got = ::recv(client.fd(), buffer, sizeof buffer, 0)) > 0;)
        bytes.append(buffer, static_cast<size_t>(got));
    return bytes;
}

// Lines, of so many bytes in all.
std::string lines(size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += std::to_string(text.size()) + "\n";
    return text;
}

struct Front {
    TempDir directory;
    Server server;
    TestDaemon daemon;
    explicit Front(const Way& way)
        : server(way.server == "unix" ? "unix:" + (directory / "server") : way.server),
          daemon("workers: 1\nlisteners: {front: {listen: '" +
                 (way.listen == "unix" ? "unix:" + (directory / "front") : way.listen) +
                 "', framing: " + way.framing + ", handler: {proxy: back}}}\nupstreams: {back: {servers: ['" +
                 server.text() + "']}}\n") {}
    size_t resets() {
        return daemon.count("front", "closed upstream_reset") + daemon.count("front", "closed peer_reset");
    }
};

const Way kWays[] = {{"127.0.0.1:0", "127.0.0.1:0", "raw"},
                     {"127.0.0.1:0", "127.0.0.1:0", "line"},
                     {"unix", "127.0.0.1:0", "raw"},
                     {"127.0.0.1:0", "unix", "line"},
                     {"unix", "unix", "raw"}};

int unacknowledged(const BlockingClient& end) {
    int bytes = 0;
    return ioctl(end.fd(), SIOCOUTQ, &bytes) == 0 ? bytes : -1;
}

void stand_still(pid_t worker) {
    ::kill(worker, SIGSTOP);
    wait_for("the worker to stand still", [&] { return state_of(worker) == 'T'; });
}

// The first of two lines is read, the second makes the close a reset.
void answer_and_close(BlockingClient& server, const std::string& answer) {
    server.send(answer);
    server.close();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reply_before_reset)

BOOST_AUTO_TEST_CASE(an_answer_comes_before_the_reset_behind_it) {
    for (const Way& way : kWays) {
        Front it(way);
        const std::string answer = lines(3000);
        for (int i = 0; i < kTimes; ++i) {
            BlockingClient client(it.daemon.address("front"));
            BlockingClient server = it.server.accept();
            client.send("one\ntwo\n");
            BOOST_TEST(server.receive(4) == "one\n");
            wait_for("the rest of the request", [&] { return server.has_input(); });
            answer_and_close(server, answer);
            BOOST_TEST(all_of(client) == answer, way.server << " " << way.listen << " " << way.framing);
        }
        wait_for("all to be closed", [&] { return it.daemon.open_connections() == 0; });
    }
}

// The worker finds answer, reset and more of the request at once.
BOOST_AUTO_TEST_CASE(an_answer_is_found_by_a_worker_that_was_busy) {
    for (const Way& way : kWays) {
        Front it(way);
        const std::string answer = lines(3000);
        const pid_t worker = it.daemon.pids(0).worker;
        for (int i = 0; i < kTimes; ++i) {
            BlockingClient client(it.daemon.address("front"));
            BlockingClient server = it.server.accept();
            client.send("one\ntwo\n");
            BOOST_TEST(server.receive(4) == "one\n");
            wait_for("the rest of the request", [&] { return server.has_input(); });
            stand_still(worker);
            if (i % 2 == 0) client.send("three\n");
            answer_and_close(server, answer);
            ::kill(worker, SIGCONT);
            BOOST_TEST(all_of(client) == answer, way.server << " " << way.listen << " " << way.framing);
        }
    }
}

BOOST_AUTO_TEST_CASE(what_a_client_said_last_comes_before_its_reset) {
    for (const Way& way : kWays) {
        Front it(way);
        const std::string words = lines(3000);
        const pid_t worker = it.daemon.pids(0).worker;
        for (int i = 0; i < kTimes; ++i) {
            BlockingClient client(it.daemon.address("front"));
            BlockingClient server = it.server.accept();
            server.send("one\ntwo\n");
            BOOST_TEST(client.receive(4) == "one\n");
            wait_for("the rest of the greeting", [&] { return client.has_input(); });
            stand_still(worker);
            if (i % 2 == 0) server.send("three\n");
            answer_and_close(client, words);
            ::kill(worker, SIGCONT);
            BOOST_TEST(all_of(server) == words, way.server << " " << way.listen << " " << way.framing);
        }
    }
}

// The client is paused when the reset comes: what lies unread in the worker's socket is read later, by whoever serves.
BOOST_AUTO_TEST_CASE(a_slow_reader_gets_all_of_an_answer) {
    Front it({"127.0.0.1:0", "127.0.0.1:0", "raw, limits: {output_high: 4KiB, output_low: 1KiB}"});
    const std::string answer = lines(100'000);
    BlockingClient client(it.daemon.address("front"), {.receive_buffer = 4096, .segment = 536});
    BlockingClient server = it.server.accept();
    client.send("one\ntwo\n");
    BOOST_TEST(server.receive(4) == "one\n");
    wait_for("the rest of the request", [&] { return server.has_input(); });
    // Until no buffer on the way takes any more: what the worker's socket has then, it has not read.
    std::string sent;
    for (int refused = 0; refused < 20;) {
        const ssize_t taken = ::send(server.fd(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken > 0) sent.append(answer, 0, static_cast<size_t>(taken));
        refused = taken > 0 ? 0 : refused + 1;
        if (taken <= 0) it.daemon.status();
    }
    const size_t acknowledged = sent.size() - static_cast<size_t>(unacknowledged(server));
    server.close();
    it.daemon.kill_worker(0);
    const std::string got = all_of(client);
    BOOST_TEST(got.size() >= acknowledged);
    BOOST_TEST((got == sent.substr(0, got.size())));
    wait_for("its end", [&] { return it.resets() == 1; });
    it.daemon.check_nothing_lost();
}

// The reset is there before its server is dialled.
BOOST_AUTO_TEST_CASE(a_client_is_heard_that_is_gone_when_it_is_accepted) {
    for (const Way& way : kWays) {
        Front it(way);
        const std::string words = lines(3000);
        const pid_t worker = it.daemon.pids(0).worker;
        const Address front = it.daemon.address("front");
        for (int i = 0; i < 5; ++i) {
            stand_still(worker);
            BlockingClient client(front);
            client.send(words);
            client.reset();
            ::kill(worker, SIGCONT);
            BlockingClient server = it.server.accept();
            BOOST_TEST(all_of(server) == words, way.server << " " << way.listen << " " << way.framing);
        }
        wait_for("all to be closed", [&] { return it.daemon.open_connections() == 0; });
    }
}

// What came too fast is kept in the worker's memory, where the kernel has no byte of it any more.
BOOST_AUTO_TEST_CASE(what_waits_for_its_rate_comes_before_the_reset) {
    Front it({"127.0.0.1:0", "127.0.0.1:0", "line, limits: {message_rate: 20/s}"});
    std::string words;
    for (int i = 0; i < 50; ++i) words += std::to_string(i) + "\n";
    BlockingClient client(it.daemon.address("front"));
    BlockingClient server = it.server.accept();
    client.send(words);
    BOOST_TEST(server.receive(4) == words.substr(0, 4));
    client.reset();
    BOOST_TEST(all_of(server) == words.substr(4));
    wait_for("its end", [&] { return it.resets() == 1; });
}

// It takes the connection, says something and resets it while the worker, which dialled, stands still. A full backlog
// keeps the dial waiting until then.
BOOST_AUTO_TEST_CASE(a_server_is_heard_that_is_gone_when_the_dial_is_done) {
    Front it({"127.0.0.1:0", "127.0.0.1:0", "raw"});
    constexpr int kSynSent = 2;
    const Address back = *Address::parse(it.server.text(), false);
    it.server.set_backlog(0);
    const BlockingClient before(back);
    BlockingClient client(it.daemon.address("front"));
    wait_for("the dial", [&] { return sockets_towards(back, kSynSent) == 1; });
    stand_still(it.daemon.pids(0).worker);
    it.server.accept();
    BlockingClient server = it.server.accept();
    server.send("come back later\n");
    wait_for("the other end to have it", [&] { return unacknowledged(server) == 0; });
    server.reset();
    ::kill(it.daemon.pids(0).worker, SIGCONT);
    BOOST_TEST(all_of(client) == "come back later\n");
    wait_for("its end", [&] { return it.resets() == 1; });
}

// An error is due to a client that was reset: there is nobody to take it, and no limit on how long that lasts.
BOOST_AUTO_TEST_CASE(who_was_reset_is_not_kept_for_a_last_word) {
    Front it({"127.0.0.1:0", "127.0.0.1:0", "tcpd, timeouts: {slow_reader: 0, closing: 0, half_close: 0}"});
    const pid_t worker = it.daemon.pids(0).worker;
    const std::string frame = frame_bytes(7, "one");
    BlockingClient client(it.daemon.address("front"));
    BlockingClient server = it.server.accept();
    client.send(frame);
    BOOST_TEST(server.receive(frame.size()) == frame);
    stand_still(worker);
    server.send(frame);
    wait_for("the worker to have it", [&] { return unacknowledged(server) == 0; });
    client.send("no frame at all, of some length\n");
    client.reset();
    ::kill(worker, SIGCONT);
    wait_for("its end", [&] { return it.daemon.open_connections() == 0; });
}

// A unix server that reads no more is no dead one, and the client's end can't be passed on to it.
BOOST_AUTO_TEST_CASE(a_server_that_only_stopped_reading_has_the_time_of_half_close) {
    Front it({"unix", "127.0.0.1:0", "raw, timeouts: {half_close: 300ms}"});
    BlockingClient client(it.daemon.address("front"));
    BlockingClient server = it.server.accept();
    ::shutdown(server.fd(), SHUT_RD);
    client.send(lines(3000));
    server.send("enough\n");
    BOOST_TEST(client.receive(7) == "enough\n");
    wait_for("its end", [&] { return it.daemon.open_connections() == 0; });
    BOOST_TEST(it.daemon.count("front", "closed half_closed") == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
