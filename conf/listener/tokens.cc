#include "conf/listener/tokens.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

constexpr std::string_view kBlank = " \t\r";
constexpr size_t kHashDigits = 64;

// Without its comment and the blanks around it; a comment begins a line or stands behind a blank.
std::string_view content_of(std::string_view line) {
    for (size_t at = line.find('#'); at != line.npos; at = line.find('#', at + 1))
        if (at == 0 || kBlank.find(line[at - 1]) != kBlank.npos) line = line.substr(0, at);
    const size_t end = line.find_last_not_of(kBlank);
    return end == line.npos ? std::string_view() : line.substr(0, end + 1);
}

class TokenReader {
public:
    TokenReader(Draft& draft, const std::string& path) : draft_(draft), path_(path) {}

    void read_line(std::string_view line) {
        ++line_;
        line = content_of(line);
        const size_t begin = std::min(line.find_first_not_of(kBlank), line.size());
        if (begin == line.size()) return;
        const size_t colon = line.find(':');
        if (colon == line.npos)
            return complain(begin, "is no identity:sha256-hex, it has no colon (a comment begins with #)");
        const std::string_view identity = line.substr(begin, colon - begin), hash = line.substr(colon + 1);
        if (is_identity(identity, begin) && is_hash(hash, colon + 1)) keep(identity, hash, begin);
    }
    std::vector<Token> take() { return std::move(tokens_); }

private:
    void complain(size_t at, std::string message) {
        draft_.add_problem({path_, {line_, static_cast<int>(at) + 1}}, {}, std::move(message));
    }
    bool is_identity(std::string_view identity, size_t begin) {
        if (identity.empty() || identity.size() > kMaxIdentityBytes) {
            complain(begin,
                     fmt::format("the identity has {} bytes (1 to {})", identity.size(), kMaxIdentityBytes));
            return false;
        }
        const auto odd =
            std::find_if(identity.begin(), identity.end(), [](char c) { return c <= ' ' || c > '~'; });
        if (odd == identity.end()) return true;
        complain(begin + static_cast<size_t>(odd - identity.begin()),
                 "the identity has a character in it that it may not have (printable ASCII, no space)");
        return false;
    }
    bool is_hash(std::string_view hash, size_t begin) {
        const size_t odd = hash.find_first_not_of("0123456789abcdefABCDEF");
        if (odd == hash.npos && hash.size() == kHashDigits) return true;
        if (odd == hash.npos)
            complain(begin,
                     fmt::format("the hash has {} digits (a SHA-256 has {})", hash.size(), kHashDigits));
        else
            complain(begin + odd, "the hash is not in hexadecimal (printf %s TOKEN | sha256sum makes one)");
        return false;
    }
    void keep(std::string_view identity, std::string_view hash, size_t begin) {
        Token token{.identity = std::string(identity)};
        const std::string bytes = parse_hex(hash).value_or("");
        std::memcpy(token.sha256.data(), bytes.data(), std::min(bytes.size(), token.sha256.size()));
        const auto [first, is_new] = line_of_.emplace(token.sha256, line_);
        if (is_new) return tokens_.push_back(std::move(token));
        complain(begin,
                 fmt::format("has the hash of line {} again (which identity would it be?)", first->second));
    }

    Draft& draft_;
    const std::string& path_;
    int line_ = 0;
    std::vector<Token> tokens_;
    std::map<std::array<uint8_t, 32>, int> line_of_;
};

}  // namespace

std::vector<Token> parse_tokens(Draft& draft, const std::string& path, std::string_view text) {
    TokenReader reader(draft, path);
    while (!text.empty() && !draft.is_full()) {
        const size_t end = std::min(text.find('\n'), text.size());
        reader.read_line(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return reader.take();
}

}  // namespace tcpd::conf
