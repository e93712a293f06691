#include "daemon/base/net/port_range.h"

#include <fmt/format.h>

#include <optional>

#include "daemon/base/text.h"

namespace tcpd {

namespace {

template <typename... Args>
Error wrong(fmt::format_string<Args...> format, Args&&... args) {
    Error error;
    error.code = ErrorCode::bad_config;
    error.reason = fmt::format(format, std::forward<Args>(args)...);
    return error;
}

struct RangeText {
    std::string_view host;  // with the colon
    std::string_view first, last;
};

// Ports have neither letters nor dots, so that no path and no host's name is taken for them.
std::optional<RangeText> find_range(std::string_view text) {
    if (text.starts_with("unix:") || text.starts_with("systemd:")) return std::nullopt;
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const std::string_view ports = text.substr(colon + 1);
    const size_t dash = ports.find('-');
    if (dash == std::string_view::npos || ports.find_first_not_of("0123456789-") != std::string_view::npos)
        return std::nullopt;
    return RangeText{text.substr(0, colon + 1), ports.substr(0, dash), ports.substr(dash + 1)};
}

Result<std::vector<Address>> at_port(std::string_view host, std::string_view port) {
    return Address::parse_listen(std::string(host) + std::string(port));
}

std::vector<Address> expand(const std::vector<Address>& first, uint16_t last) {
    std::vector<Address> all;
    for (uint32_t port = first.front().port(); port <= last; ++port) {
        for (Address address : first) {
            address.set_port(static_cast<uint16_t>(port));
            all.push_back(address);
        }
    }
    return all;
}

// *:PORT is said with its first one.
bool is_said(const Address& address) { return address.is_of_star() && address.family() == AF_INET6; }

bool is_next(const Address& address, Address before) {
    if (address.port() == 0 || before.port() == 0 || before.port() == UINT16_MAX) return false;
    if (address.is_of_star() != before.is_of_star()) return false;
    before.set_port(static_cast<uint16_t>(before.port() + 1));
    return address == before;
}

std::string text_of(const Address& first, const Address& last) {
    const std::string text = first.is_of_star() ? fmt::format("*:{}", first.port()) : first.text();
    return first == last ? text : fmt::format("{}-{}", text, last.port());
}

}  // namespace

Result<std::vector<Address>> parse_listen_range(std::string_view text) {
    const std::optional<RangeText> range = find_range(text);
    if (!range) return Address::parse_listen(text);
    if (range->first.empty() || range->last.empty() || range->last.find('-') != std::string_view::npos)
        return wrong("{} is not a range of ports (try {}7000-7009)", quoted(text), range->host);
    const Result<std::vector<Address>> first = at_port(range->host, range->first);
    if (!first) return first.error();
    const Result<std::vector<Address>> last = at_port(range->host, range->last);
    if (!last) return last.error();
    const uint16_t from = first->front().port(), to = last->front().port();
    if (from == 0) return wrong("port 0 is any free one, which begins no range (use 1 to 65535)");
    if (to < from) return wrong("the range ends before it begins (write {}{}-{})", range->host, to, from);
    if (to - from >= static_cast<int>(kMaxRangePorts))
        return wrong("{} has {} ports (at most {})", quoted(text), to - from + 1, kMaxRangePorts);
    return expand(*first, to);
}

std::vector<std::string> listen_texts(const std::vector<Address>& addresses) {
    std::vector<std::string> texts;
    std::vector<Address> said;
    for (const Address& address : addresses)
        if (!is_said(address)) said.push_back(address);
    for (size_t first = 0; first < said.size();) {
        size_t last = first;
        while (last + 1 < said.size() && last + 1 - first < kMaxRangePorts &&
               is_next(said[last + 1], said[last]))
            ++last;
        texts.push_back(text_of(said[first], said[last]));
        first = last + 1;
    }
    return texts;
}

}  // namespace tcpd
