#pragma once

// The part of tcpd.yaml(5) that lists the keys: made from the grammar, so that the page can't say anything
// else than what is read. Pure; runs at build time. Source: man(7), groff_char(7).

#include <string>

namespace tcpd::conf {

// A .TP paragraph for each key, in the grammar's order, with what it takes and its default.
std::string manual_keys();

}  // namespace tcpd::conf
