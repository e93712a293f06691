#pragma once

// Byte streams that both ends can make up by themselves: the byte at each offset follows from a seed, so
// nothing is kept and every byte, its order and the end are checked. A client's stream begins with a Hello
// that tells a FakeUpstream what to expect and what to answer; an echo handler sends it back like any other
// bytes. Or it consists of whole frames, for a listener that cuts them. Pure.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tcpd::test {

inline constexpr uint64_t kEndless = uint64_t{1} << 60;

// Who answers the frames of a stream: with the same, with nothing, as kStreamRoutes says, or with the same
// but for one in six, which a proxy refuses and keeps to itself.
enum class Answerer { echo, discard, routes, refusing };

// What comes after the last frame: no more; what is none, and is answered by the last ERROR; CLOSE.
enum class LastWord { none, broken, goodbye };

// The frames that a stream consists of; their sizes vary.
struct FrameShape {
    uint32_t least_bytes = 0, most_bytes = 0;  // of a payload; most_bytes 0: no frames
    Answerer answerer = Answerer::echo;
    LastWord last_word = LastWord::none;
    bool pings = false;          // one in four is a PING
    bool authenticates = false;  // the first one is AUTH with kToken
    bool greets = false;         // the first one behind that has the Hello
    bool is_tcpd = true;         // of the tcpd protocol; false: kStreamFraming
    explicit operator bool() const { return most_bytes != 0; }
    size_t header_bytes() const;
};
inline constexpr const char* kStreamFraming = "length: {offset: 0, size: 4}";
// The types of a stream with Answerer::routes are 0 to 5; the last one has no route.
inline constexpr const char* kStreamRoutes =
    "{routes: [{types: 0-1, handler: echo}, {types: 2, handler: discard}, {types: 3, error: 503}, "
    "{types: 4, handler: discard, one_way: true}]}";

class Pattern {
public:
    Pattern() = default;
    // The first bytes are `prefix`, the rest pseudo-random.
    explicit Pattern(uint64_t seed, std::string prefix = {}) : seed_(seed), prefix_(std::move(prefix)) {}
    void fill(uint64_t at, char* to, size_t bytes) const;
    bool matches(uint64_t at, const char* from, size_t bytes) const;

    // Whole frames, without an end, behind one with the Hello if there is any; and what comes back for it.
    static Pattern of_frames(uint64_t seed, const FrameShape& shape, const std::string& hello = {});
    Pattern reply() const;
    // What a proxy passes on of it.
    Pattern passed_on() const;
    // Where the frame that the byte before `at` belongs to ends.
    uint64_t frame_end(uint64_t at) const;
    // Of a reply: the most that may have come back for the first `asked` bytes, and how many of them nothing
    // more comes back for, once the first `answered` bytes have.
    uint64_t most_answered(uint64_t asked) const;
    uint64_t asked_by(uint64_t answered) const;
    // From `at` on comes the last word, or what answers it.
    void end_at(uint64_t at);
    uint64_t last_word_begin() const { return last_word_at_; }
    uint64_t last_word_end() const { return last_word_at_ + last_word_.size(); }

private:
    using Ends = std::vector<uint64_t>;  // of the frames of one round, from its begin; then they come again
    struct Place {
        uint64_t round, frame;
        uint64_t skip;  // bytes of the frame before it
    };
    Place find(const Ends& ends, uint64_t at) const;
    uint64_t begin_of(const Ends& ends, const Place& place) const;
    void fill_frames(uint64_t at, char* to, size_t bytes) const;
    void fill_random(uint64_t at, char* to, size_t bytes) const;
    std::string header_of(uint64_t frame) const;
    std::string error_for(uint64_t frame) const;
    uint64_t asked_bytes(uint64_t frame) const;
    bool is_ping(uint64_t frame) const { return shape_.pings && frame % 4 == 1; }
    uint32_t type(uint64_t frame) const;
    bool is_answered(uint64_t frame) const;

    uint64_t seed_ = 0;
    std::string prefix_;
    FrameShape shape_;
    Ends ends_, asked_ends_;  // of a reply: its own, and those of what it answers
    bool is_reply_ = false;
    uint64_t last_word_at_ = kEndless;
    std::string last_word_;
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
