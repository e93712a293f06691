// Fuzzes Framing::feed: however a stream is cut into pieces, its frames and its fault are the same. The first
// byte picks the framing, the second one the cuts, the rest is the stream.

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
    return 0;
}
