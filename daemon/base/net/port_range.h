#pragma once

// What `listen` takes: an address, or one with a range of ports, which stands for an address for each of them.
// Pure; every process. Source: tcpd.yaml(5) "What listen takes".

#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/net/address.h"

namespace tcpd {

inline constexpr size_t kMaxRangePorts = 1024;

// As Address::parse_listen, and "127.0.0.1:5000-5009", "[::1]:5000-5009", "*:5000-5009".
Result<std::vector<Address>> parse_listen_range(std::string_view text);
// Each as parse_listen_range reads it, neighbours in a row as the range that they make: the same addresses in
// the same order. Of *:PORT, which is two, it is said once.
std::vector<std::string> listen_texts(const std::vector<Address>& addresses);

}  // namespace tcpd
