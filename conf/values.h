#pragma once

// One value of the grammar, from text to the member that its row names. Pure; every process.
// Source: tcpd.yaml(5), "units".

#include <optional>
#include <string>
#include <string_view>

#include "conf/grammar.h"

namespace tcpd::conf {

// Stores what `text` says where `row` points to (Addresses: appends); relative paths begin at `folder`. What
// is wrong with it is returned, and nothing stored. Not for sections, names, include, nor where a
// listener names an upstream or a framing.
std::optional<std::string> read_value(const Row& row, const Target& target, std::string_view text,
                                      std::string_view folder);
// `path` from `folder`, without dots.
std::string absolute(std::string_view path, std::string_view folder);

}  // namespace tcpd::conf
