#include "daemon/hex_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <vector>

#include "daemon/base/text.h"
#include "daemon/dump_lines.h"

namespace tcpd {

namespace {

using Is = HexDump::Is;

constexpr size_t kFewestPairs = 4;  // of digits alone that are taken for bytes, and not for numbers
constexpr int kMostDecimal = 255;
constexpr int kLeastDecimal = -128;  // Java's bytes have a sign

HexDump none(std::string problem = "") { return {.problem = std::move(problem)}; }
HexDump certain(std::string bytes) {
    return bytes.empty() ? none() : HexDump{Is::certain, std::move(bytes), ""};
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_hex_digit(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }
bool is_hex_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

std::string_view between(std::string_view text, std::string_view open, std::string_view close) {
    if (text.size() < open.size() + close.size() || !text.starts_with(open) || !text.ends_with(close))
        return {};
    return text.substr(open.size(), text.size() - open.size() - close.size());
}

// C's: char packet[] = { /* Packet 1 */ 0x78, 0x78 };
std::string without_declaration(std::string_view text) {
    const size_t open = text.find('{'), close = text.rfind('}');
    if (open != text.npos && close != text.npos && open < close && text.find("0x") != text.npos)
        text = text.substr(open + 1, close - open - 1);
    std::string kept;
    while (!text.empty()) {
        const size_t begin = std::min(text.find("/*"), text.size());
        kept += text.substr(0, begin);
        const size_t end = text.find("*/", begin);
        text = end == text.npos ? std::string_view() : text.substr(end + 2);
    }
    return kept;
}

// "0x78 0x78", "0x78, 0x78,", "0x7878".
HexDump read_0x_words(std::string_view text) {
    const std::string plain = without_declaration(text);
    std::string bytes;
    size_t words = 0;
    for (const std::string_view word : split_words(plain, " \t\r\n,;")) {
        if (!word.starts_with("0x") && !word.starts_with("0X")) return none();
        const std::string_view digits = word.substr(2);
        // A leading zero is left out by some: 0x7.
        auto read = parse_hex(digits.size() == 1 ? "0" + std::string(digits) : std::string(digits));
        if (!read || read->empty()) return none();
        bytes += *read;
        ++words;
    }
    return words == 0 ? none() : certain(std::move(bytes));
}

// "[120, 120, 13]", "<<120,120>>", "{120, 120}": brackets say that it is a list, and not a table of numbers.
HexDump read_decimal_list(std::string_view text) {
    std::string_view inside;
    for (const auto& [open, close] : {std::pair{"<<", ">>"}, {"[", "]"}, {"{", "}"}}) {
        if (inside = between(text, open, close); !inside.empty()) break;
    }
    std::string bytes;
    for (const std::string_view word : split_words(inside, " \t\r\n,")) {
        int value = 0;
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
        if (error != std::errc() || end != word.data() + word.size()) return none();
        if (value < kLeastDecimal || value > kMostDecimal) return none();
        bytes += static_cast<char>(value);
    }
    return certain(std::move(bytes));
}

// What stands behind a backslash, of C, Python, Go and JavaScript alike; `at` moves behind it.
std::optional<char> read_escape(std::string_view text, size_t& at) {
    constexpr std::pair<char, char> kLetters[] = {{'n', '\n'},  {'r', '\r'},  {'t', '\t'}, {'a', '\a'},
                                                  {'b', '\b'},  {'f', '\f'},  {'v', '\v'}, {'0', '\0'},
                                                  {'\\', '\\'}, {'\'', '\''}, {'"', '"'}};
    if (at >= text.size()) return {};
    const char letter = text[at++];
    if (letter == 'x') {
        auto byte = parse_hex(text.substr(at, 2));
        if (!byte || byte->size() != 1) return {};
        at += 2;
        return byte->front();
    }
    for (const auto& [name, value] : kLetters) {
        if (name == letter) return value;
    }
    return {};
}

// "\x78\x78", or with what can be printed in between where quotes are around it: b'xx\r\x01'.
HexDump read_escaped(std::string_view text) {
    if (text.find("\\x") == text.npos) return none();
    if (text.starts_with("b'") || text.starts_with("b\"")) text.remove_prefix(1);
    bool is_quoted = false;
    for (const std::string_view quote : {"'", "\""}) {
        const std::string_view inside = between(text, quote, quote);
        if (inside.empty()) continue;
        text = inside;
        is_quoted = true;
        break;
    }
    // PostgreSQL's bytea: one \x, then all digits.
    if (text.starts_with("\\x") && text.size() > 4 && text.find('\\', 2) == text.npos && !is_quoted) {
        if (auto bytes = parse_hex(text.substr(2))) return certain(std::move(*bytes));
    }
    std::string bytes;
    for (size_t at = 0; at < text.size();) {
        const char c = text[at++];
        if (c == '\\') {
            const auto byte = read_escape(text, at);
            if (!byte) return none();
            bytes += *byte;
        } else if (is_quoted) {
            bytes += c;
        } else if (!is_space(c)) {
            return none();
        }
    }
    return certain(std::move(bytes));
}

// "78:78:0d" and "78-78-0D".
HexDump read_separated(std::string_view text) {
    for (const char separator : {':', '-'}) {
        if (text.find(separator) == text.npos) continue;
        std::string bytes;
        for (const std::string_view word : split_words(text, std::string(" \t\r\n") + separator)) {
            auto byte = word.size() == 2 ? parse_hex(word) : std::optional<std::string>();
            if (!byte) return none();
            bytes += *byte;
        }
        return certain(std::move(bytes));
    }
    return none();
}

// "<Buffer 78 78 0d>", of Node.js; it leaves out all from the 51st byte on.
HexDump read_node_buffer(std::string_view text) {
    const std::string_view inside = between(text, "<Buffer ", ">");
    if (inside.empty()) return none();
    if (inside.find("more byte") != inside.npos)
        return none("Node.js shows the first 50 bytes of a buffer only (print buffer.toString('hex'))");
    auto bytes = parse_hex(inside);
    return bytes ? certain(std::move(*bytes)) : none();
}

// Digits, in words or without: "78780d01", "7878 0d01", "78 78 0d". Where no letter is among them, it may as well
// be text that consists of numbers.
HexDump read_plain(std::string_view text) {
    std::string bytes;
    bool has_letter = false, are_pairs = true;
    const auto words = split_words(text, " \t\r\n");
    for (const std::string_view word : words) {
        if (!std::all_of(word.begin(), word.end(), is_hex_digit) || word.size() % 2 != 0) return none();
        has_letter = has_letter || std::any_of(word.begin(), word.end(), is_hex_letter);
        are_pairs = are_pairs && word.size() == 2;
        bytes += parse_hex(word).value_or("");
    }
    if (bytes.empty()) return none();
    const bool is_certain = has_letter || (are_pairs && words.size() >= kFewestPairs);
    return {is_certain ? Is::certain : Is::maybe, std::move(bytes), ""};
}

}  // namespace

HexDump read_hex_dump(std::string_view text) {
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    const std::string_view whole = text;
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    if (text.empty()) return none();
    std::string problem;
    for (const auto read :
         {read_0x_words, read_decimal_list, read_escaped, read_node_buffer, read_separated}) {
        HexDump dump = read(text);
        if (dump.is != Is::none) return dump;
        if (problem.empty()) problem = std::move(dump.problem);
    }
    // Where the first line is no offset, all may be digits; where it may be one, the offsets have to be right.
    DumpLines lines = read_dump_lines(whole);
    if (!lines.bytes.empty()) return certain(std::move(lines.bytes));
    if (!lines.problem.empty()) return none(std::move(lines.problem));
    HexDump plain = read_plain(text);
    if (plain.is != Is::none) return plain;
    return none(std::move(problem));
}

}  // namespace tcpd
