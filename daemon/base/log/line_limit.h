#pragma once

// At most one line of a kind in five seconds, and how many were left out between two. Every process; pure:
// the clock is passed in. Holds kMostKinds kinds at a time; a further one takes the place of the one that was
// quiet longest.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace tcpd::log {

inline constexpr uint64_t kQuietNs = 5'000'000'000;
inline constexpr size_t kMostKinds = 64;

// `what` is kept as a pointer: a string literal. `of`: where several have lines of this kind, whose.
struct LineKind {
    LineKind(const char* line, uint32_t whose = 0) : what(line), of(whose) {}
    std::string_view what;
    uint32_t of;
    bool operator==(const LineKind&) const = default;
};

class LineLimit {
public:
    struct Verdict {
        bool may_write;
        uint64_t left_out;  // since the last line of this kind that was written
        uint64_t quiet_ns;  // how long ago that was
    };
    Verdict on_line(const LineKind& line, uint64_t now_ns);

private:
    struct Kind {
        LineKind line{""};
        uint64_t written_ns = 0;
        uint64_t left_out = 0;
    };
    Kind& kind_of(const LineKind& line);

    std::array<Kind, kMostKinds> kinds_{};
};

// What the next line says at its end: " (12 more like this in 41s)", or nothing.
std::string describe_left_out(const LineLimit::Verdict& verdict);

}  // namespace tcpd::log
