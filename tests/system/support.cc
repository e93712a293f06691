// The instruments before the measurements: a byte-exact peer that talks to the fake upstream directly finds
// nothing wrong, and one whose bytes were tampered with finds it.

#include <sys/socket.h>

#include <boost/test/unit_test.hpp>

#include "tests/support/exact_peer.h"
#include "tests/support/fake_upstream.h"

using namespace tcpd;
using namespace tcpd::test;

namespace {

UpstreamResults run_plan(const Plan& plan, unsigned count) {
    FakeUpstream upstream;
    ExactPeer peer;
    peer.open(upstream.address(), plan, count);
    if (plan.up_bytes == kEndless) {
        peer.run_bytes(1 << 20);
        peer.wind_down();
    }
    peer.finish();
    check_all_finished(peer.results());
    BOOST_CHECK_EQUAL(upstream.settled().received, peer.results().sent);
    BOOST_CHECK_EQUAL(upstream.results().sent, peer.results().received);
    return upstream.results();
}

// A server of one connection that the test moves by hand.
class Tampering {
public:
    Tampering() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const Result<Address> any = Address::parse("127.0.0.1:0", true);
        sockaddr_storage local{};
        socklen_t length = sizeof local;
        if (bind(listener_.get(), any->get(), any->length()) != 0) throw Failed("bind");
        if (listen(listener_.get(), 1) != 0) throw Failed("listen");
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&local), &length);
        address = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&local), length);
    }
    std::string accept_and_read(ExactPeer& peer, size_t bytes) {
        fd_.reset(accept(listener_.get(), nullptr, nullptr));
        std::string text(bytes, '\0');
        peer.run_until("the stream", [&] {
            return recv(fd_.get(), text.data(), bytes, MSG_PEEK | MSG_DONTWAIT) ==
                   static_cast<ssize_t>(bytes);
        });
        if (recv(fd_.get(), text.data(), bytes, 0) != static_cast<ssize_t>(bytes)) throw Failed("recv");
        return text;
    }
    void answer(const std::string& text) {
        if (send(fd_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
            throw Failed("send");
    }
    void end() { fd_.reset(); }
    Address address;

private:
    UniqueFd listener_, fd_;
};

PeerResults tampered(const std::function<void(std::string&)>& change) {
    Tampering server;
    ExactPeer peer;
    peer.open(server.address, Plan{.up_bytes = 1000, .window = 1000});
    std::string text = server.accept_and_read(peer, 1000);
    change(text);
    server.answer(text);
    if (text.size() < 1000) server.end();
    peer.finish();
    return peer.results();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(support)

BOOST_AUTO_TEST_CASE(echo_is_exact) {
    run_plan({.up_bytes = 1 << 20}, 5);
    run_plan({.up_bytes = 2000, .window = 100, .piece = 100, .urgent = true}, 20);
    run_plan({.up_bytes = kEndless, .ends_at_once = true}, 5);
    run_plan({.up_bytes = 200'000, .read_piece = 700, .receive_buffer = 4096, .segment = 536}, 3);
}

BOOST_AUTO_TEST_CASE(sink_and_source_are_exact) {
    run_plan({.far = Role::sink, .up_bytes = 1 << 20}, 5);
    run_plan({.far = Role::source, .up_bytes = 100, .down_bytes = 1 << 20, .urgent = true}, 5);
    run_plan({.far = Role::source, .up_bytes = kEndless, .down_bytes = kEndless}, 5);
    run_plan({.far = Role::source, .up_bytes = 1 << 18, .down_bytes = 1 << 18, .ends_at_once = true}, 5);
    run_plan({.far = Role::source, .up_bytes = 1 << 18, .down_bytes = 1000, .far_ends_first = true}, 5);
}

BOOST_AUTO_TEST_CASE(a_reset_is_seen) {
    FakeUpstream upstream;
    ExactPeer peer;
    peer.open(upstream.address(),
              Plan{.far = Role::source, .up_bytes = kEndless, .down_bytes = 5000, .far_resets = true});
    peer.finish();
    BOOST_CHECK_EQUAL(peer.results().finished, 1U);
}

BOOST_AUTO_TEST_CASE(tampering_is_seen) {
    BOOST_CHECK_EQUAL(tampered([](std::string& text) { text[500] ^= 1; }).wrong, 1U);
    BOOST_CHECK_EQUAL(tampered([](std::string& text) { text.erase(300, 1); }).wrong, 1U);
    BOOST_CHECK_EQUAL(tampered([](std::string& text) { text.insert(300, 1, text[300]); }).wrong, 1U);
    BOOST_CHECK_EQUAL(tampered([](std::string& text) { text += "x"; }).wrong, 1U);
    BOOST_CHECK_EQUAL(tampered([](std::string& text) { text.resize(999); }).early_end, 1U);
}

BOOST_AUTO_TEST_CASE(ports_that_refuse_and_that_are_silent) {
    const RefusingPort refusing;
    const Result<Address> address = Address::parse(refusing.text(), false);
    ExactPeer peer;
    peer.open(*address, Plan{});
    BOOST_CHECK_EQUAL(peer.results().refused, 1U);

    const SilentPort silent;
    const Result<Address> other = Address::parse(silent.text(), false);
    const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    BOOST_CHECK(connect(fd.get(), other->get(), other->length()) != 0 && errno == EINPROGRESS);
}

BOOST_AUTO_TEST_SUITE_END()
