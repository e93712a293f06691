#pragma once

// Byte streams that both ends can make up by themselves: the byte at each offset follows from a seed, so
// nothing is kept and every byte, its order and the end are checked. A client's stream begins with a Hello
// that tells a FakeUpstream what to expect and what to answer; an echo handler sends it back like any other
// bytes. Pure.

#include <cstddef>
#include <cstdint>
#include <string>

namespace tcpd::test {

inline constexpr uint64_t kEndless = uint64_t{1} << 60;

class Pattern {
public:
    Pattern() = default;
    // The first bytes are `prefix`, the rest pseudo-random.
    explicit Pattern(uint64_t seed, std::string prefix = {}) : seed_(seed), prefix_(std::move(prefix)) {}
    void fill(uint64_t at, char* to, size_t bytes) const;
    bool matches(uint64_t at, const char* from, size_t bytes) const;

private:
    uint64_t seed_ = 0;
    std::string prefix_;
};

// What the far end does with a client's stream: the daemon's handler, or a FakeUpstream behind its proxy.
enum class Role : uint32_t {
    echo,    // sends the same back
    sink,    // reads, sends nothing; `discard` is one
    source,  // reads, and sends a stream of its own
};

struct Hello {
    char magic[8] = {'t', 'c', 'p', 'd', 't', 'e', 's', 't'};
    uint64_t seed = 0;  // of the client's stream; the source's has seed + 1
    uint64_t down_bytes = 0;
    Role role = Role::echo;
    uint32_t piece = 65536;       // most bytes a send
    uint32_t read_piece = 65536;  // most bytes a recv
    uint8_t urgent = 0;           // the source's first byte is sent MSG_OOB
    uint8_t ends_first = 0;       // FIN after down_bytes, while it goes on reading
    uint8_t resets = 0;           // RST after down_bytes
    uint8_t paced = 0;            // reads no more than once a millisecond

    std::string bytes() const;
    // Throws Failed if that is no Hello.
    static Hello from(const char* bytes);
};
static_assert(sizeof(Hello) == 40);

}  // namespace tcpd::test
