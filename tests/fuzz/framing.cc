// Fuzzes Framing: however a stream is cut into pieces, its frames and its fault are the same, and what is
// seen at once to be whole frames is some of them. The first byte picks the framing, the second one the cuts,
// the rest is the stream.

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <vector>

#include "tests/support/cut_stream.h"

namespace {

void check_same(const tcpd::test::CutStream& whole, const tcpd::test::CutStream& other) {
    if (whole == other && whole.broken_rule.empty()) return;
    std::cerr << "whole: " << whole << "\nsplit: " << other << std::endl;
    std::abort();
}

// The stream as a block of its own, so that a sanitizer sees a byte read too many.
void check_run(const tcpd::worker::Framing& framing, std::string_view stream,
               const tcpd::test::CutStream& whole) {
    const std::vector<char> own(stream.begin(), stream.end());
    uint32_t frames = 0;
    const uint32_t bytes = framing.run_of_frames({own.data(), own.size()}, &frames);
    uint64_t expected = 0;
    bool is_right = frames <= whole.frames.size();
    for (size_t at = 0; is_right && at < frames; ++at) {
        is_right = whole.frames[at].type < tcpd::worker::kFirstControlType;
        expected += whole.frames[at].total_bytes;
    }
    if (is_right && bytes == expected) return;
    std::cerr << "whole: " << whole << "\nat once: " << frames << " frames in " << bytes << " bytes"
              << std::endl;
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    static const std::vector<tcpd::worker::Framing> kFramings = [] {
        std::vector<tcpd::worker::Framing> all;
        for (const tcpd::conf::Framing& config : tcpd::test::all_framings()) all.emplace_back(config);
        return all;
    }();
    const tcpd::worker::Framing& framing = kFramings[data[0] % kFramings.size()];
    const std::string_view stream(reinterpret_cast<const char*>(data) + 2, size - 2);
    const tcpd::test::CutStream whole = tcpd::test::cut_whole(framing, stream);
    check_same(whole, tcpd::test::cut_stream(framing, tcpd::test::split(stream, data[1])));
    check_same(whole, tcpd::test::cut_by_byte(framing, stream));
    check_run(framing, stream, whole);
    return 0;
}
