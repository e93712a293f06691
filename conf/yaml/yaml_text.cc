#include "conf/yaml/yaml_text.h"

#include <fmt/core.h>
#include <yaml-cpp/exceptions.h>

#include <array>

#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// YAML's c-printable, of a whole UTF-8 character.
bool is_printable(std::string_view character) {
    const auto first = static_cast<unsigned char>(character[0]);
    if (character.size() == 1) return first >= 0x20 ? first != 0x7f : character.find_first_of("\t\n\r") == 0;
    const bool is_c1_control = first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
    return !is_c1_control && character != "\xef\xbf\xbe" && character != "\xef\xbf\xbf";
}

std::string_view line_of(std::string_view text, int line) {
    for (int at = 1; at < line; ++at) {
        const size_t end = text.find('\n');
        if (end == std::string_view::npos) return {};
        text.remove_prefix(end + 1);
    }
    return text.substr(0, text.find('\n'));
}

bool is_indented_by_tab(std::string_view line) {
    const size_t begin = line.find_first_not_of(" \t");
    return line.substr(0, begin).find('\t') != std::string_view::npos;
}

struct Explanation {
    std::string_view complaint;  // how yaml-cpp's message begins
    std::string_view words;
};

constexpr std::string_view kMisfit =
    "this does not fit what stands before it (look at the indentation, brackets and quotes here and in the "
    "line above)";

constexpr std::string_view kMisfitAfterValue =
    "this does not fit what stands before it (look at the indentation; a value that begins with [ or { needs "
    "quotes: "
    "\"[::1]:7000\")";

namespace Msg = YAML::ErrorMsg;
const std::array kExplanations{
    Explanation{Msg::UNKNOWN_ANCHOR,
                "no anchor has this name (a value that begins with * needs quotes: \"*:7000\")"},
    Explanation{Msg::ALIAS_NOT_FOUND, "a value that begins with * needs quotes"},
    Explanation{Msg::CHAR_IN_ALIAS, "a value that begins with * needs quotes"},
    Explanation{Msg::ANCHOR_NOT_FOUND, "a value that begins with & needs quotes"},
    Explanation{Msg::CHAR_IN_ANCHOR, "a value that begins with & needs quotes"},
    Explanation{Msg::MULTIPLE_ANCHORS, "two anchors (&...) on one value"},
    Explanation{Msg::ALIAS_CONTENT, "an alias (*...) with something beside it"},
    Explanation{Msg::TAB_IN_INDENTATION, "a tab in the indentation (use spaces)"},
    Explanation{Msg::END_OF_MAP_FLOW, "a { is not closed, or something in it is out of place"},
    Explanation{Msg::END_OF_SEQ_FLOW, "a [ is not closed, or something in it is out of place"},
    Explanation{Msg::END_OF_MAP, kMisfitAfterValue},
    Explanation{Msg::END_OF_SEQ, kMisfitAfterValue},
    Explanation{Msg::FLOW_END, "a closing bracket that closes nothing"},
    Explanation{Msg::EOF_IN_SCALAR, "the file ends inside of quotes"},
    Explanation{Msg::DOC_IN_SCALAR, "a line of --- or ... inside of quotes"},
    Explanation{Msg::INVALID_ESCAPE,
                "an unknown escape after \\ (in single quotes \\ is an ordinary character)"},
    Explanation{Msg::INVALID_HEX, "a \\x, \\u or \\U without its hexadecimal digits"},
    Explanation{Msg::INVALID_UNICODE, "a \\u or \\U that is no character"},
    Explanation{Msg::UNKNOWN_TOKEN, "a value cannot begin with this character (put it in quotes)"},
    Explanation{
        Msg::MAP_VALUE,
        "a \": \" is out of place here (look at the indentation; a value with \": \" in it needs quotes)"},
    Explanation{Msg::BLOCK_ENTRY, "a list item (- ) is out of place here (look at the indentation)"},
    Explanation{Msg::BAD_FILE, "nested too deeply (at most 64 levels)"},
};

}  // namespace

std::optional<SyntaxProblem> find_not_text(std::string_view text) {
    Mark mark{1, 1};
    for (size_t length = 0; !text.empty(); text.remove_prefix(length)) {
        length = utf8_character(text);
        const unsigned first = static_cast<unsigned char>(text.front());
        if (length == 0)
            return SyntaxProblem{mark,
                                 fmt::format("byte 0x{:02x} is not UTF-8 (is this a text file?)", first)};
        if (!is_printable(text.substr(0, length)))
            return SyntaxProblem{mark, fmt::format("{} is a control character (is this a text file?)",
                                                   quoted(text.substr(0, length)))};
        mark =
            first == '\n' ? Mark{mark.line + 1, 1} : Mark{mark.line, mark.column + static_cast<int>(length)};
    }
    return {};
}

void strip_byte_order_mark(std::string& text) {
    if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
}

bool quote_is_closed(std::string_view text, size_t offset) {
    while (offset < text.size() &&
           (text[offset] == '&' || text[offset] == '!'))  // an anchor or tag before the quote
        offset = text.find_first_not_of(" \t", text.find_first_of(" \t", offset));
    if (offset >= text.size()) return true;
    const char quote = text[offset];
    if (quote != '"' && quote != '\'') return true;
    for (size_t at = offset + 1; at < text.size(); ++at) {
        const bool is_escape = quote == '"' ? text[at] == '\\' : text.substr(at, 2) == "''";
        if (is_escape)
            ++at;
        else if (text[at] == quote)
            return true;
    }
    return false;
}

std::string explain(std::string_view complaint, std::string_view text, int line) {
    if (is_indented_by_tab(line_of(text, line))) return "a tab in the indentation (use spaces)";
    for (const Explanation& known : kExplanations)
        if (!complaint.empty() && complaint.starts_with(known.complaint)) return std::string(known.words);
    return std::string(kMisfit);
}

}  // namespace tcpd::conf
