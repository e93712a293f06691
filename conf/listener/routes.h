#pragma once

// The routes of a listener: types of frames as they are written, and whether each route can match and can do
// what it says under the listener's framing. Pure; every process. Owns nothing: a death in here leaves
// nothing behind. Source: tcpd.yaml(5), the frame protocol's types and error codes.

#include <array>
#include <string>
#include <string_view>

#include "conf/draft.h"
#include "daemon/base/error.h"

namespace tcpd::conf {

// "7", "0x10", "0x10-0x1F"; the reason of what is none is a complaint about the text.
Result<TypeRange> parse_type_range(std::string_view text);
std::string format_type_range(const TypeRange& range);
// The codes that the frame protocol has for errors.
inline constexpr std::array<unsigned, 7> kFrameErrors{400, 401, 413, 429, 500, 503, 504};
bool is_frame_error(uint64_t code);

// The listener's framing is resolved and cuts frames; `key_path` is that of its routes.
void check_routes(Draft& draft, const Listener& listener, const std::string& key_path);

}  // namespace tcpd::conf
