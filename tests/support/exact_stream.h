#pragma once

// Byte streams that both ends can make up by themselves: the byte at each offset follows from a seed, so
// nothing is kept and every byte, its order and the end are checked. A client's stream begins with a Hello
// that tells a FakeUpstream what to expect and what to answer; an echo handler sends it back like any other
// bytes. Or it consists of whole frames of the tcpd protocol, for a listener that cuts them. Pure.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tcpd::test {

inline constexpr uint64_t kEndless = uint64_t{1} << 60;

// The frames that a stream consists of; their sizes vary.
struct FrameShape {
    uint32_t least_bytes = 0, most_bytes = 0;  // of a payload; most_bytes 0: no frames
    bool pings = false;                        // one in four is a PING
    bool authenticates = false;                // the first one is AUTH with kStreamToken
    bool breaks = false;  // after the last one comes what is no frame, which is answered by the last ERROR
    explicit operator bool() const { return most_bytes != 0; }
};
// AUTH with it is as long as AUTH_OK: what comes back is as long as what was sent.
inline constexpr const char* kStreamToken = "alpha-token-15b";
inline constexpr const char* kStreamTokenSha256 =
    "f5f75126e9a5b7e4912a7a5cbd2e2b258366266967b4f6f56e8587be5612197a";

class Pattern {
public:
    Pattern() = default;
    // The first bytes are `prefix`, the rest pseudo-random.
    explicit Pattern(uint64_t seed, std::string prefix = {}) : seed_(seed), prefix_(std::move(prefix)) {}
    void fill(uint64_t at, char* to, size_t bytes) const;
    bool matches(uint64_t at, const char* from, size_t bytes) const;

    // Whole frames, without an end; and what comes back for it.
    static Pattern of_frames(uint64_t seed, const FrameShape& shape);
    Pattern reply() const;
    // Where the frame that the byte before `at` belongs to ends.
    uint64_t frame_end(uint64_t at) const;
    // From `at` on comes what breaks the stream, or the ERROR that answers it.
    void break_at(uint64_t at);
    uint64_t break_begin() const { return break_at_; }
    uint64_t end_of_break() const { return break_at_ + break_.size(); }

private:
    void fill_frames(uint64_t at, char* to, size_t bytes) const;
    void fill_random(uint64_t at, char* to, size_t bytes) const;
    bool is_ping(size_t frame) const { return shape_.pings && frame % 4 == 1; }

    uint64_t seed_ = 0;
    std::string prefix_;
    FrameShape shape_;
    std::vector<uint64_t> ends_;  // of the frames of one round, from its begin; then they come again
    bool is_reply_ = false;
    uint64_t break_at_ = kEndless;
    std::string break_;
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
