#pragma once

// The file of tokens that a listener names: who may come in, each by the SHA-256 of a token. Pure; every
// process. What is wrong is told by line and never in the file's own words: a token written down by mistake
// must not get into a log. Owns memory only: a death in here leaves nothing behind. Source: tcpd.yaml(5).

#include <string>
#include <string_view>
#include <vector>

#include "conf/draft.h"

namespace tcpd::conf {

inline constexpr size_t kMaxIdentityBytes = 47;  // as many as a session's record has room for

// The lines of `text`, which lies at `path`; what is wrong with them goes into the draft.
std::vector<Token> parse_tokens(Draft& draft, const std::string& path, std::string_view text);

}  // namespace tcpd::conf
