#pragma once

// What the first bytes of a stream look like, for the message about a stream that is not what was expected.
// Pure. Any process. Source: RFC 9112 section 3, RFC 9113 section 3.4, RFC 8446 section 5.1, RFC 4253 section
// 4.2, the PROXY protocol's text, the Redis and PostgreSQL protocol documents.

#include <string>
#include <string_view>

namespace tcpd::worker {

// "HTTP", "TLS", ...; empty: nothing that is known.
std::string_view guess_protocol(std::string_view first_bytes);

// The first 16 bytes as "48 65 6c 6c 6f", and what they look like: "... (looks like HTTP)".
std::string describe_first_bytes(std::string_view first_bytes);

}  // namespace tcpd::worker
