#pragma once

// How a stream is cut into frames, as a configuration says. Pure: no descriptor, no loop, no clock, no
// allocation once made. Where a stream stands lies in FrameProgress, which its owner keeps while a frame is
// incomplete. If the process dies in here, nothing was changed that anybody else sees. Any process.
// Source: tcpd.yaml(5), "framings"; docs/protocols.md; for the search of delimiters: Knuth, Morris and Pratt,
// "Fast Pattern Matching in Strings" (1977).

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "conf/config.h"

namespace tcpd::worker {

// Why a stream can't be cut any further.
enum class FrameFault : uint8_t {
    none,
    magic,     // a byte of the magic number, or of the opening delimiter, is another one
    version,   // of the tcpd protocol
    length,    // less than the header itself, too short for its type, or a varint of more than 5 bytes
    too_long,  // over max_frame; a control frame of the tcpd protocol: over 4,096
};

enum class FrameStep : uint8_t { whole, more, bad };

// What is known of the frame in hand. All zero: no byte of it was seen.
struct FrameProgress {
    uint64_t total_bytes = 0;  // with header, trailer and delimiters; 0: not known yet
    uint64_t seen_bytes = 0;
    uint32_t type = 0;          // once the header is known
    uint16_t header_bytes = 0;  // before the payload; with delimiters: the opening one
    uint8_t trailer_bytes = 0;  // behind the payload: the closing delimiter; once whole
    uint8_t matched_bytes = 0;  // of the closing delimiter
    FrameFault fault = FrameFault::none;
    bool is_header_known = false;  // and with it, but for delimiters, total_bytes
    uint64_t payload_bytes() const { return total_bytes - header_bytes - trailer_bytes; }
};

// Magic, length and type of a frame lie within so many bytes.
inline constexpr size_t kMaxHeaderBytes = 64;

// The frame protocol of tcpd: docs/protocols.md.
inline constexpr std::string_view kTcpdMagic = "\xCA\xFE\xBA\xBE";
inline constexpr uint8_t kTcpdVersion = 1;
inline constexpr uint16_t kTcpdHeaderBytes = 11;
inline constexpr uint32_t kFirstControlType = 0xF000;
inline constexpr uint64_t kMaxControlBytes = 4096;

class Framing {
public:
    explicit Framing(const conf::Framing& config);

    // Goes on in a frame with the bytes of `piece`, which follow those seen before, to the frame's end at
    // most: it took as many as `seen_bytes` grew. `head`: all bytes of the frame that were seen, contiguous;
    // not used any more once the header is known. `whole`: the frame ends inside `piece`. `bad`: `fault` says
    // why, and `seen_bytes` counts up to and with the first wrong byte; of a length that is not to be taken,
    // up to and with the length. A fault is found as early as the bytes allow, however they are cut.
    FrameStep feed(FrameProgress& progress, std::string_view head, std::string_view piece) const;

    // How many bytes at the front are whole frames that are neither faulty nor control frames, as far as that
    // is seen at once; `frames`: how many they are. 0 says nothing.
    uint32_t run_of_frames(std::string_view bytes, uint32_t* frames) const {
        return config_.kind == conf::FramingKind::tcpd ? run_of_tcpd_frames(bytes, frames) : 0;
    }

    const conf::Framing& config() const { return config_; }
    bool has_type() const { return config_.has_type(); }

private:
    uint32_t run_of_tcpd_frames(std::string_view bytes, uint32_t* frames) const;
    FrameStep examine(FrameProgress& progress, std::string_view header) const;
    FrameStep examine_length(FrameProgress& progress, std::string_view header) const;
    FrameStep examine_tcpd(FrameProgress& progress, std::string_view header) const;
    FrameStep settle(FrameProgress& progress, uint64_t length_end, uint64_t value) const;
    FrameStep seek_end(FrameProgress& progress, std::string_view piece) const;
    FrameStep seek_line_end(FrameProgress& progress, std::string_view piece) const;
    bool is_over(const FrameProgress& progress, uint64_t kept_back) const;
    FrameStep end_frame(FrameProgress& progress, uint64_t trailer_bytes) const;

    conf::Framing config_;
    // How many bytes of the delimiter still match when the one after the first `i` does not.
    std::array<uint8_t, 17> fallback_{};
};

// "bad magic", "unsupported version", ...
std::string_view name_of(FrameFault fault);

}  // namespace tcpd::worker
