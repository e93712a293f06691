#pragma once

// Who may come in: tokens, known by their SHA-256 only. Made from the configuration, constant afterwards. A
// token is found by the first bytes of its hash, which tell nothing about another token's, and then compared
// in constant time. Worker only. Source: FIPS 180-4; SHA256(3), CRYPTO_memcmp(3).

#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"

namespace tcpd::worker {

class Authenticator {
public:
    explicit Authenticator(const conf::Auth& config);
    bool is_required() const { return is_required_; }
    // Whose token it is; nullptr: nobody's, as an empty one always is.
    const std::string* identify(std::string_view token) const;

private:
    bool is_required_;
    std::vector<conf::Token> tokens_;  // by hash
};

}  // namespace tcpd::worker
