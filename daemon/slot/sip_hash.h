#pragma once

// SipHash-2-4 of three words: where others choose what is hashed, and must not find two that collide, which
// they can't without the key. Pure; every process. Source: Aumasson and Bernstein, "SipHash: a fast
// short-input PRF" (2012); the words are taken as bytes in little-endian order.

#include <bit>
#include <cstdint>
#include <initializer_list>

namespace tcpd::slot {

struct SipKey {
    uint64_t first, second;
};

class SipState {
public:
    constexpr explicit SipState(SipKey key)
        : a_(key.first ^ 0x736f6d6570736575),
          b_(key.second ^ 0x646f72616e646f6d),
          c_(key.first ^ 0x6c7967656e657261),
          d_(key.second ^ 0x7465646279746573) {}
    constexpr void take(uint64_t word) {
        d_ ^= word;
        mix();
        mix();
        a_ ^= word;
    }
    constexpr uint64_t finish() {
        c_ ^= 0xff;
        for (int round = 0; round < 4; ++round) mix();
        return a_ ^ b_ ^ c_ ^ d_;
    }

private:
    constexpr void mix() {
        a_ += b_, c_ += d_;
        b_ = std::rotl(b_, 13) ^ a_, d_ = std::rotl(d_, 16) ^ c_;
        a_ = std::rotl(a_, 32);
        c_ += b_, a_ += d_;
        b_ = std::rotl(b_, 17) ^ c_, d_ = std::rotl(d_, 21) ^ a_;
        c_ = std::rotl(c_, 32);
    }
    uint64_t a_, b_, c_, d_;
};

constexpr uint64_t sip_hash(SipKey key, uint64_t first, uint64_t second, uint64_t third) {
    SipState state(key);
    for (const uint64_t word : {first, second, third}) state.take(word);
    state.take(uint64_t{3 * sizeof(uint64_t)} << 56);
    return state.finish();
}

}  // namespace tcpd::slot
