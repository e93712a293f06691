#pragma once

// For tests of frames that go on to an upstream: a daemon of one worker, a client of it, and the connection
// that it dialled, which the test plays. Runs in the test's process; owns the daemon and all sockets.

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/played_upstream.h"
#include "tests/support/test_daemon.h"

namespace tcpd::test {

inline constexpr uint32_t kType = 0x0102;

// The time to dial outlasts what a test does before it opens its upstream.
inline std::string proxy_config(const std::string& upstream, const std::string& keys,
                                const std::string& more = "", const std::string& framing = "tcpd",
                                const std::string& dial = "15s") {
    return "workers: 1\n" + more + "listeners: {it: {listen: 127.0.0.1:0, framing: " + framing +
           ", handler: {proxy: back}" + keys + "}}\nupstreams: {back: {servers: ['" + upstream +
           "'], timeouts: {dial: " + dial + "}}}\n";
}

// A client, and what its frames go to.
struct Ends {
    FramedClient client, server;
};

struct Proxied {
    PlayedUpstream upstream;
    TestDaemon daemon;
    Address address;
    FramedClient client, server, bystander, server_of_bystander;

    explicit Proxied(const std::string& keys = "", const ClientOptions& options = {},
                     const std::string& more = "", const std::string& framing = "tcpd")
        : daemon(proxy_config(upstream.text(), keys, more, framing)),
          address(daemon.address("it")),
          client(address, options),
          server(upstream.accept()),
          bystander(address),
          server_of_bystander(upstream.accept()) {}
    Ends another() const {
        FramedClient one(address);
        return {std::move(one), upstream.accept()};
    }
    // The one worker has handled whatever was sent before.
    void settle() {
        bystander.send_frame(worker::ControlType::ping, "settled?");
        BOOST_REQUIRE(bystander.receive_frame().is(worker::ControlType::pong));
    }
    void wait_closed(const std::string& reason, uint64_t count = 1) const {
        wait_for("the count of " + reason, [&] { return daemon.count("it", "closed " + reason) == count; });
    }
};

inline std::vector<Frame> frames(unsigned count, unsigned seed = 0) {
    std::vector<Frame> list;
    for (unsigned i = 0; i < count; ++i)
        list.push_back({kType + i % 5, payload_of((i + seed) * 31 % 700, i)});
    return list;
}

inline void check_same(FramedClient& from, const std::vector<Frame>& expected) {
    for (const Frame& frame : expected) BOOST_REQUIRE_EQUAL(from.receive_frame(), frame);
}

inline Frame pong(const std::string& payload) { return {type_of(worker::ControlType::pong), payload}; }

// One after the other without a pause, then a short one.
class LongReplies {
public:
    static Frame nth(unsigned n) { return {kType, payload_of(150'000, n % 8)}; }
    explicit LongReplies(FramedClient& server)
        : thread_([this, &server] {
              std::string bytes;
              for (unsigned i = 0; i < 8; ++i) bytes += bytes_of({nth(i)});
              try {
                  while (!is_over_) server.send(bytes);
                  server.send_frame(kType + 1, "the last");
              } catch (const Failed&) {  // seen by who reads
              }
          }) {}
    ~LongReplies() { end(); }
    void end() { is_over_ = true; }

private:
    std::atomic<bool> is_over_ = false;
    std::jthread thread_;
};

}  // namespace tcpd::test
