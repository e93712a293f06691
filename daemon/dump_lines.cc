#include "daemon/dump_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <vector>

#include "daemon/base/text.h"

namespace tcpd {

namespace {

constexpr size_t kMostLineBytes = 256;            // xxd -c takes as many
constexpr size_t kUsualLineBytes = 32;            // of a single line, whose text column nothing else tells
constexpr size_t kMostBytes = 256 * 1024 * 1024;  // with what "*" stands for
constexpr size_t kLeastOffsetDigits = 4;          // Wireshark's
constexpr size_t kWordDumpDigits[] = {6, 7};      // od -x, hexdump

struct Line {
    size_t number = 0;  // in the input, from 1
    std::string_view offset;
    std::string_view rest;   // bytes, and perhaps a column of text
    bool is_repeat = false;  // "*": as the line before, up to the next offset
    bool has_colon = false;
    bool is_indented = false;
};

bool is_hex(std::string_view word) {
    return !word.empty() &&
           std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

bool is_pair(std::string_view word) { return word.size() == 2 && is_hex(word); }

std::optional<Line> read_line(std::string_view text, size_t number) {
    Line line{.number = number, .is_indented = text.starts_with("    ")};
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
    const size_t end = std::min(text.find_first_of(" \t"), text.size());
    line.offset = text.substr(0, end);
    line.rest = text.substr(end);
    line.rest.remove_prefix(std::min(line.rest.find_first_not_of(" \t"), line.rest.size()));
    line.is_repeat = line.offset == "*" && line.rest.empty();
    if (line.is_repeat) return line;
    line.has_colon = line.offset.ends_with(':');
    if (line.has_colon) line.offset.remove_suffix(1);
    if (line.offset.starts_with("0x")) line.offset.remove_prefix(2);
    if (!is_hex(line.offset) || line.offset.size() < kLeastOffsetDigits || line.offset.size() > 16) return {};
    return line;
}

// The form of all of them is that of the first.
struct Form {
    int base = 16;
    bool has_colon = false;
    bool are_words = false;  // of 16 bits, the low byte first
};

class Reader {
public:
    explicit Reader(std::string_view text) {
        for (size_t number = 1; !text.empty(); ++number) {
            const size_t end = std::min(text.find('\n'), text.size());
            std::string_view one = text.substr(0, end);
            text.remove_prefix(std::min(end + 1, text.size()));
            while (!one.empty() && std::isspace(static_cast<unsigned char>(one.back())) != 0)
                one.remove_suffix(1);
            if (one.empty()) continue;
            const auto line = read_line(one, number);
            if (!line) {
                stranger_ = number;
                return;
            }
            lines_.push_back(*line);
        }
    }

    DumpLines read() {
        if (lines_.empty() || lines_[0].is_repeat || !begins_like_one()) return {};
        if (stranger_ != 0)
            return {.problem = fmt::format("line {}: there is no offset at its begin", stranger_)};
        form_.has_colon = lines_[0].has_colon;
        form_.are_words = is_of_words();
        std::string problem;
        // od's seven digits are octal, or decimal, where bytes follow; few lines may fit all three.
        const bool is_of_od = !form_.has_colon && !form_.are_words && lines_[0].offset.size() == 7;
        for (const int base : is_of_od ? std::array{8, 10, 16} : std::array{16, 8, 10}) {
            form_.base = base;
            DumpLines read = read_all();
            if (!read.bytes.empty()) return read;
            if (problem.empty()) problem = std::move(read.problem);
        }
        if (has_two_directions())
            problem =
                "both directions of a connection are in it (give it one; Wireshark: choose it below the "
                "stream)";
        return {.problem = std::move(problem)};
    }

private:
    std::optional<uint64_t> offset_of(const Line& line) const {
        uint64_t offset = 0;
        const char* end = line.offset.data() + line.offset.size();
        const auto [stop, error] = std::from_chars(line.offset.data(), end, offset, form_.base);
        return error == std::errc() && stop == end ? std::optional(offset) : std::nullopt;
    }

    // One line alone may as well be digits in groups; several have offsets that prove it.
    bool begins_like_one() const {
        const Line& first = lines_[0];
        if (first.rest.empty()) return false;
        const auto words = split_words(first.rest, " \t");
        if (first.has_colon) return is_hex(words[0]);
        if (first.offset.size() < 6 && !is_pair(words[0])) return false;
        if (first.offset.size() < 6 && lines_.size() == 1) return offset_of(first) == uint64_t{0};
        return words[0].size() <= 4 && is_hex(words[0]);
    }

    bool is_of_words() const {
        const Line& first = lines_[0];
        const bool has_digits = std::find(std::begin(kWordDumpDigits), std::end(kWordDumpDigits),
                                          first.offset.size()) != std::end(kWordDumpDigits);
        return !first.has_colon && has_digits && split_words(first.rest, " \t")[0].size() == 4;
    }

    bool has_two_directions() const {
        const auto indented =
            std::count_if(lines_.begin(), lines_.end(), [](const Line& l) { return l.is_indented; });
        return indented != 0 && static_cast<size_t>(indented) != lines_.size();
    }

    DumpLines read_all() const {
        std::string bytes, piece;
        size_t usual = 0;
        for (size_t i = 0; i < lines_.size(); ++i) {
            const Line& line = lines_[i];
            if (line.is_repeat) {
                if (!repeat(i, piece, bytes))
                    return wrong(line, "the lines that it stands for are not known");
                continue;
            }
            const auto offset = offset_of(line);
            if (!offset) return wrong(line, "its offset is no number");
            if (line.rest.empty() && i + 1 == lines_.size()) break;
            const auto most = bytes_of(i, *offset, usual);
            if (!most) return wrong(lines_[i + 1], "its offset does not go on from the line before");
            piece = take(line, *most);
            const bool is_last = i + 1 == lines_.size();
            if (piece.empty() || (!is_last && piece.size() != *most))
                return wrong(line, "its bytes are not as many as the next offset says");
            usual = std::max(usual, piece.size());
            bytes += piece;
        }
        return {.bytes = std::move(bytes)};
    }

    static DumpLines wrong(const Line& line, const char* why) {
        return {.problem = fmt::format("line {}: {}", line.number, why)};
    }

    // By the next offset; of the last line, at most. Behind it a "*" stands for lines of the same size.
    std::optional<size_t> bytes_of(size_t i, uint64_t offset, size_t usual) const {
        if (i + 1 == lines_.size()) return usual == 0 ? kUsualLineBytes : usual;
        const bool is_before_repeat = lines_[i + 1].is_repeat;
        if (is_before_repeat && usual != 0) return usual;
        if (is_before_repeat) return take(lines_[i], kUsualLineBytes).size();
        const auto next = offset_of(lines_[i + 1]);
        if (!next || *next <= offset || *next - offset > kMostLineBytes) return {};
        return static_cast<size_t>(*next - offset);
    }

    bool repeat(size_t i, const std::string& piece, std::string& bytes) const {
        if (i == 0 || i + 1 == lines_.size() || piece.empty()) return false;
        const auto from = offset_of(lines_[i - 1]);
        const auto to = offset_of(lines_[i + 1]);
        if (!from || !to || *to <= *from + piece.size()) return false;
        const uint64_t missing = *to - *from - piece.size();
        if (missing % piece.size() != 0 || missing > kMostBytes - std::min(kMostBytes, bytes.size()))
            return false;
        for (uint64_t done = 0; done < missing; done += piece.size()) bytes += piece;
        return true;
    }

    // What stands before the column of text. Where it begins, more spaces stand than between two bytes, but by the
    // next offset it is known how many bytes there are.
    std::string take(const Line& line, size_t most) const {
        std::string_view rest = line.rest.substr(0, line.rest.find_first_of("|>"));
        const std::string_view gap = form_.has_colon ? "  " : "   ";
        if (most == kUsualLineBytes || &line == &lines_.back()) rest = rest.substr(0, rest.find(gap));
        std::string bytes;
        for (const std::string_view word : split_words(rest, " \t")) {
            if (bytes.size() >= most) break;
            if (!is_hex(word) || word.size() % 2 != 0) break;
            std::string read = parse_hex(word).value_or("");
            if (form_.are_words && read.size() == 2) std::swap(read[0], read[1]);
            bytes += read.substr(0, most - bytes.size());
        }
        return bytes;
    }

    std::vector<Line> lines_;
    size_t stranger_ = 0;  // a line without offset
    Form form_;
};

}  // namespace

DumpLines read_dump_lines(std::string_view text) { return Reader(text).read(); }

}  // namespace tcpd
