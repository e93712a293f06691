#include "tests/support/exact_stream.h"

#include <algorithm>
#include <cstring>

#include "tests/support/wait.h"

namespace tcpd::test {
namespace {

// splitmix64: one multiply-and-shift chain a word, any word at once.
uint64_t word_at(uint64_t seed, uint64_t index) {
    uint64_t z = seed * 0xD1342543DE82EF95 + (index + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

}  // namespace

void Pattern::fill(uint64_t at, char* to, size_t bytes) const {
    while (bytes && at < prefix_.size()) {
        *to++ = prefix_[at++];
        --bytes;
    }
    while (bytes) {
        const uint64_t word = word_at(seed_, at / 8);
        const size_t skip = at % 8, part = std::min(bytes, 8 - skip);
        std::memcpy(to, reinterpret_cast<const char*>(&word) + skip, part);
        to += part;
        at += part;
        bytes -= part;
    }
}

bool Pattern::matches(uint64_t at, const char* from, size_t bytes) const {
    char expected[4096];
    while (bytes) {
        const size_t part = std::min(bytes, sizeof expected);
        fill(at, expected, part);
        if (std::memcmp(expected, from, part) != 0) return false;
        at += part;
        from += part;
        bytes -= part;
    }
    return true;
}

std::string Hello::bytes() const { return std::string(reinterpret_cast<const char*>(this), sizeof *this); }

Hello Hello::from(const char* bytes) {
    Hello hello;
    if (std::memcmp(bytes, hello.magic, sizeof hello.magic) != 0) throw Failed("the stream begins wrong");
    std::memcpy(static_cast<void*>(&hello), bytes, sizeof hello);
    return hello;
}

}  // namespace tcpd::test
