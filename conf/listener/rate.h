#pragma once

// Rates as they are written: so many a second or a minute. Pure; every process. Owns nothing: a death in here
// leaves nothing behind. Source: tcpd.yaml(5), "Values".

#include <string>
#include <string_view>

#include "conf/config.h"
#include "daemon/base/error.h"

namespace tcpd::conf {

inline constexpr uint64_t kMaxRate = 1'000'000'000;

// "100/s", "5/m", "0" for none; the reason of what is none is a complaint about the text.
Result<Rate> parse_rate(std::string_view text);
// What parse_rate reads back as the same.
std::string format_rate(const Rate& rate);

}  // namespace tcpd::conf
