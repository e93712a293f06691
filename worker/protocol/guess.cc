#include "worker/protocol/guess.h"

#include <fmt/format.h>

#include <algorithm>

#include "worker/protocol/framing.h"

namespace tcpd::worker {

namespace {

using namespace std::string_view_literals;

constexpr size_t kShownBytes = 16;

struct Known {
    std::string_view begins_with;
    std::string_view name;
};
constexpr Known kKnown[] = {
    {"GET "sv, "HTTP"},
    {"HEAD "sv, "HTTP"},
    {"POST "sv, "HTTP"},
    {"PUT "sv, "HTTP"},
    {"DELETE "sv, "HTTP"},
    {"OPTIONS "sv, "HTTP"},
    {"CONNECT "sv, "HTTP"},
    {"PATCH "sv, "HTTP"},
    {"HTTP/"sv, "an HTTP response"},
    {"PRI * HTTP/2"sv, "HTTP/2"},
    {"\x16\x03"sv, "TLS"},
    {"SSH-"sv, "SSH"},
    {"PROXY "sv, "the PROXY protocol, version 1"},
    {"\r\n\r\n\0\r\nQUIT\n"sv, "the PROXY protocol, version 2"},
    {kTcpdMagic, "the tcpd protocol"},
    {"*1\r\n"sv, "Redis"},
    {"*2\r\n"sv, "Redis"},
    {"*3\r\n"sv, "Redis"},
    {"\0\0\0\x08\x04\xd2\x16\x2f"sv, "PostgreSQL, asking for TLS"},
};

bool is_text(std::string_view bytes) {
    return !bytes.empty() && std::all_of(bytes.begin(), bytes.end(), [](unsigned char c) {
        return (c >= 0x20 && c < 0x7f) || c == '\t' || c == '\r' || c == '\n';
    });
}

}  // namespace

std::string_view guess_protocol(std::string_view first_bytes) {
    for (const Known& known : kKnown) {
        if (first_bytes.starts_with(known.begins_with)) return known.name;
    }
    return is_text(first_bytes) ? "text" : std::string_view();
}

std::string describe_first_bytes(std::string_view first_bytes) {
    first_bytes = first_bytes.substr(0, kShownBytes);
    std::string text;
    for (const unsigned char c : first_bytes) text += fmt::format("{}{:02x}", text.empty() ? "" : " ", c);
    if (const std::string_view guess = guess_protocol(first_bytes); !guess.empty())
        text += fmt::format(" (looks like {})", guess);
    return text;
}

}  // namespace tcpd::worker
