#pragma once

// What can be said of YAML text without parsing it, and in which words a parse that failed is told. Pure;
// every process. Source: YAML 1.2, 5.1 "Character Set"; the messages of yaml-cpp (yaml-cpp/exceptions.h).

#include <optional>
#include <string>
#include <string_view>

#include "conf/yaml/yaml_tree.h"

namespace tcpd::conf {

// The first byte that is neither UTF-8 nor printable: a binary file, UTF-16, a stray control character.
std::optional<SyntaxProblem> find_not_text(std::string_view text);
void strip_byte_order_mark(std::string& text);
// False if a quoted scalar begins at `offset` and runs to the end of the text: yaml-cpp takes that for its
// end.
bool quote_is_closed(std::string_view text, size_t offset);
// What the parser's complaint about a line means and what to do.
std::string explain(std::string_view complaint, std::string_view text, int line);

}  // namespace tcpd::conf
