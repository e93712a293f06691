#include "worker/session/authenticator.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>

namespace tcpd::worker {

namespace {

using Hash = decltype(conf::Token::sha256);
constexpr size_t kFoundBy = 8;  // bytes of the hash

bool is_before(const Hash& a, const Hash& b) { return std::memcmp(a.data(), b.data(), kFoundBy) < 0; }

}  // namespace

Authenticator::Authenticator(const conf::Auth& config)
    : is_required_(config.by_token), tokens_(config.tokens) {
    std::sort(tokens_.begin(), tokens_.end(),
              [](const conf::Token& a, const conf::Token& b) { return is_before(a.sha256, b.sha256); });
}

const std::string* Authenticator::identify(std::string_view token) const {
    if (token.empty()) return nullptr;
    Hash hash;
    SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
    auto at = std::lower_bound(tokens_.begin(), tokens_.end(), hash,
                               [](const conf::Token& a, const Hash& b) { return is_before(a.sha256, b); });
    for (; at != tokens_.end() && !is_before(hash, at->sha256); ++at) {
        if (CRYPTO_memcmp(at->sha256.data(), hash.data(), hash.size()) == 0) return &at->identity;
    }
    return nullptr;
}

}  // namespace tcpd::worker
