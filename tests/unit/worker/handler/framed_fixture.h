#pragma once

// A framed listener without processes, by a clock of its own. Runs in the test's process.

#include <openssl/sha.h>

#include "tests/unit/worker/slot_fixture.h"
#include "worker/handler/framed.h"

namespace tcpd::worker {

using namespace std::chrono_literals;

inline std::string frame(uint32_t type, std::string_view payload = {}) {
    std::string text(kTcpdMagic);
    text += '\x01';
    for (int shift : {8, 0}) text += static_cast<char>(type >> shift);
    for (int shift : {24, 16, 8, 0}) text += static_cast<char>(payload.size() >> shift);
    return text.append(payload);
}

inline std::string control(ControlType type, std::string_view payload = {}) {
    return frame(static_cast<uint32_t>(type), payload);
}

inline std::string error(FrameError code, std::string_view reason) {
    const auto number = static_cast<uint16_t>(code);
    const std::string payload{static_cast<char>(number >> 8), static_cast<char>(number)};
    return control(ControlType::error, payload + std::string(reason));
}

// Printable: "PING ", "7:5000 " (type and bytes), "ERROR 400 text ".
inline std::string shown(std::string_view bytes) {
    std::string text;
    const Framing framing(*conf::find_built_in_framing("tcpd"));
    for (FrameProgress one; framing.feed(one, {}, bytes) == FrameStep::whole; one = {}) {
        const std::string_view payload = bytes.substr(one.header_bytes, one.payload_bytes());
        bytes.remove_prefix(one.total_bytes);
        switch (static_cast<ControlType>(one.type)) {
            case ControlType::ping: text += "PING "; break;
            case ControlType::pong: text += "PONG "; break;
            case ControlType::error:
                text += "ERROR " + std::to_string(static_cast<uint8_t>(payload[0]) * 256 +
                                                  static_cast<uint8_t>(payload[1]));
                text += " " + std::string(payload.substr(2)) + " ";
                break;
            default: text += std::to_string(one.type) + ":" + std::to_string(payload.size()) + " ";
        }
    }
    return bytes.empty()
               ? text
               : text + "and " + std::to_string(bytes.size()) + " bytes: " + std::string(bytes.substr(0, 5));
}

inline conf::Listener tcpd_listener() {
    conf::Listener listener;
    listener.name = "it";
    listener.framing = *conf::find_built_in_framing("tcpd");
    return listener;
}

struct FramedFixture : SlotFixture {
    explicit FramedFixture(conf::Listener listener = tcpd_listener()) : config(std::move(listener)) {
        install();
        now_ns = monotonic_ns();
        set_now();
    }
    void install() {
        framed = std::make_unique<Framed>(worker->connections, config, nullptr, config.framing);
        worker->rules[0].handler = framed.get();
        worker->rules[0].closing = ticks_of(30'000'000'000);
    }
    void succeed() {
        auto next = seat();
        framed.reset();
        worker = std::move(next);
        install();
        set_now();
        worker->adopt();
    }
    void set_now() { worker->connections.set_now(now_ns); }
    void turn() {
        epoll_event events[64];
        for (int n = worker->connections.poller().poll(events, 64); n > 0;
             n = worker->connections.poller().poll(events, 64)) {
            for (int i = 0; i < n; ++i) worker->connections.on_event(events[i]);
        }
    }
    // In steps as a loop's tick takes them.
    void pass(Duration time) {
        const uint64_t end = now_ns + to_ns(time);
        while (now_ns < end) {
            now_ns = std::min(end, now_ns + 50'000'000);
            set_now();
            turn();
            worker->connections.look_at_deadlines();
        }
    }
    Ends client() {
        Ends ends = connect_over_loopback();
        slot::Record record = fields(0, slot::State::open);
        record.opened_ns = now_ns;
        record.active_tick = record.input_tick = worker->connections.now();
        worker->connections.watch(worker->connections.publish_accepted(ends.server, record, {}));
        return ends;
    }
    std::string ask(const Ends& e, const std::string& bytes) {
        write_all(e.client.get(), bytes);
        turn();
        return read_now(e.client.get());
    }
    void asks_in_pieces(const Ends& e, const std::string& bytes) {
        std::string echo;
        for (size_t at = 0; at < bytes.size(); at += 20'000) echo += ask(e, bytes.substr(at, 20'000));
        BOOST_TEST((echo == bytes));
    }
    void asks(const Ends& e, const std::string& bytes, const std::string& wanted) {
        BOOST_TEST(shown(ask(e, bytes)) == shown(wanted));
    }
    slot::SessionRecord& session(const Ends& e) { return memory.sessions()[e.server]; }
    bool session_is_inside_frame(const Ends& e) { return Session(session(e)).is_inside_frame(); }
    size_t closed(slot::CloseReason reason) {
        return memory.counters_of(0).closed[static_cast<size_t>(reason)];
    }
    void check_no_chunk_is_left() {
        // The one that is received into stays, and is not counted.
        BOOST_TEST(worker->connections.chunks().used_bytes() == 0u);
    }

    conf::Listener config;
    std::unique_ptr<Framed> framed;
    uint64_t now_ns = 0;
};

struct AuthFixture : FramedFixture {
    AuthFixture() : FramedFixture(listener()) {}
    static conf::Listener listener() {
        conf::Listener one = tcpd_listener();
        one.auth.by_token = true;
        conf::Token token{"alice", {}};
        SHA256(reinterpret_cast<const unsigned char*>("secret"), 6, token.sha256.data());
        one.auth.tokens = {token};
        return one;
    }
};

}  // namespace tcpd::worker
