#pragma once

// A key's value as YAML that reads back as the same. Pure. Source: tcpd.yaml(5).

#include <optional>
#include <string>
#include <string_view>

#include "conf/grammar.h"

namespace tcpd::conf {

// Nothing: it is absent.
std::optional<std::string> value_text(const Row& row, const Target& target);
// Bare only where YAML can't take it for anything but text.
std::string yaml_name(std::string_view name);

}  // namespace tcpd::conf
