#include "conf/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "conf/listener/rate.h"
#include "conf/listener/routes.h"
#include "daemon/base/net/port_range.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

using Complaint = std::optional<std::string>;

std::string duration_range(const Time& time) {
    return fmt::format("{}{} to {}", time.takes_zero ? "0, or " : "", format_duration(time.least),
                       format_duration(time.most));
}

std::string size_range(const Size& size) {
    return fmt::format("{}{} to {}", size.takes_zero ? "0, or " : "", format_size(size.least),
                       format_size(size.most));
}

bool is_digits(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// The unit of "30parsec"; empty if it does not begin with a digit.
std::string_view unit_of(std::string_view text) {
    const size_t end = text.find_first_not_of("0123456789");
    return end == 0 || end == std::string_view::npos ? std::string_view() : text.substr(end);
}

// What was written in letters that name no unit here, but nearly do.
std::string_view meant_size_unit(std::string_view unit) {
    if (unit == "b") return "B";
    if (unit == "K" || unit == "k" || unit == "KB" || unit == "kB" || unit == "kb" || unit == "kib")
        return "KiB";
    if (unit == "M" || unit == "m" || unit == "MB" || unit == "mb" || unit == "mib") return "MiB";
    if (unit == "G" || unit == "g" || unit == "GB" || unit == "gb" || unit == "gib") return "GiB";
    return {};
}

std::string_view meant_duration_unit(std::string_view unit) {
    if (unit == "sec" || unit == "secs" || unit == "second" || unit == "seconds" || unit == "S") return "s";
    if (unit == "min" || unit == "mins" || unit == "minute" || unit == "minutes") return "m";
    if (unit == "hour" || unit == "hours" || unit == "H" || unit == "hr" || unit == "hrs") return "h";
    if (unit == "msec" || unit == "millis" || unit == "milliseconds") return "ms";
    return {};
}

std::string with_unit(std::string_view text, std::string_view unit) {
    return std::string(text.substr(0, text.find_first_not_of("0123456789"))) + std::string(unit);
}

std::string not_a_duration(std::string_view text, const Time& time) {
    if (is_digits(text) && parse_number(text))
        return fmt::format("{} has no unit (try {}s)", tcpd::quoted(text), text);
    const std::string_view unit = unit_of(text);
    if (!unit.empty() && parse_duration("1" + std::string(unit)) && text[0] != '0')
        return fmt::format("{} is out of range ({})", tcpd::quoted(text), duration_range(time));
    if (const std::string_view meant = meant_duration_unit(unit); !meant.empty())
        return fmt::format("{} is not a duration (try {})", tcpd::quoted(text), with_unit(text, meant));
    return fmt::format("{} is not a duration (try 5s, 500ms, 2m)", tcpd::quoted(text));
}

std::string not_a_size(std::string_view text, const Size& size) {
    if (is_digits(text) && parse_number(text))
        return fmt::format("{} has no unit (try {}B or {}KiB)", tcpd::quoted(text), text, text);
    const std::string_view unit = unit_of(text);
    if (!unit.empty() && parse_size("1" + std::string(unit)) && text[0] != '0')
        return fmt::format("{} is out of range ({})", tcpd::quoted(text), size_range(size));
    if (const std::string_view meant = meant_size_unit(unit); !meant.empty())
        return fmt::format("{} is not a size (try {})", tcpd::quoted(text), with_unit(text, meant));
    return fmt::format("{} is not a size (try 512B, 64KiB, 1MiB)", tcpd::quoted(text));
}

std::string not_a_number(std::string_view text, const std::string& range) {
    if (text.size() > 1 && text[0] == '0' && is_digits(text))
        return fmt::format("{} begins with 0, which could mean octal (write it without)", tcpd::quoted(text));
    if (is_digits(text)) return fmt::format("{} is out of range ({})", tcpd::quoted(text), range);
    return fmt::format("{} is not a whole number ({})", tcpd::quoted(text), range);
}

Complaint read_number(std::string_view text, uint64_t least, uint64_t most, const std::string& range,
                      uint64_t& value) {
    const std::optional<uint64_t> number = parse_number(text);
    if (!number) return not_a_number(text, range);
    if (*number < least || *number > most)
        return fmt::format("{} is out of range ({})", tcpd::quoted(text), range);
    value = *number;
    return {};
}

// For user, group and owner.
bool is_account_name(std::string_view text) {
    return !text.empty() && text.find_first_of(" :/\t") == std::string_view::npos;
}

// What other daemons take here, and what to write instead.
std::string_view unavailable_output(std::string_view text) {
    if (text == "journald" || text == "journal" || text == "syslog")
        return "is not available (use stderr: under systemd the journal reads it)";
    if (text == "stdout") return "is not available (use stderr)";
    return {};
}

Result<std::vector<Address>> parse_addresses(std::string_view text, bool is_listen) {
    if (is_listen) return parse_listen_range(text);
    Result<Address> one = Address::parse(text, false);
    if (!one) return one.error();
    return std::vector{*one};
}

std::string from_folder(std::string_view text, std::string_view folder) {
    constexpr std::string_view kScheme = "unix:";
    const std::string_view path =
        text.starts_with(kScheme) ? text.substr(kScheme.size()) : std::string_view();
    if (path.empty() || path[0] == '@') return std::string(text);
    return std::string(kScheme) + absolute(path, folder);
}

struct ValueReader {
    const Target& target;
    std::string_view text;
    std::string_view folder;

    Complaint operator()(const Flag& flag) const {
        if (text != "true" && text != "false")
            return fmt::format("{} is neither true nor false", tcpd::quoted(text));
        *flag.at(target) = text == "true";
        return {};
    }
    Complaint operator()(const Count& count) const {
        uint64_t value = 0;
        Complaint complaint = read_number(text, count.least, count.most, describe_range(count), value);
        if (!complaint) *count.at(target) = static_cast<unsigned>(value);
        return complaint;
    }
    Complaint operator()(const OptionalCount& count) const {
        uint64_t value = 0;
        if (text == count.instead) {
            count.at(target)->reset();
            return {};
        }
        Complaint complaint = read_number(text, count.least, count.most, describe_range(count), value);
        if (!complaint) *count.at(target) = static_cast<unsigned>(value);
        return complaint;
    }
    Complaint operator()(const SignedCount& count) const {
        const bool is_negative = text.starts_with('-');
        const std::optional<uint64_t> number = parse_number(is_negative ? text.substr(1) : text);
        const std::string range = fmt::format("{} to {}", count.least, count.most);
        if (!number) return not_a_number(text, range);
        const int64_t value = static_cast<int64_t>(std::min<uint64_t>(*number, INT32_MAX));
        const int64_t signed_value = is_negative ? -value : value;
        if (signed_value < count.least || signed_value > count.most)
            return fmt::format("{} is out of range ({})", tcpd::quoted(text), range);
        *count.at(target) = static_cast<int>(signed_value);
        return {};
    }
    Complaint operator()(const Limit& limit) const {
        return read_number(text, 0, limit.most, fmt::format("0 to {}", limit.most), *limit.at(target));
    }
    Complaint operator()(const RateLimit& limit) const {
        const Result<Rate> rate = parse_rate(text);
        if (!rate) return rate.error().reason;
        *limit.at(target) = *rate;
        return {};
    }
    Complaint operator()(const Time& time) const {
        const std::optional<Duration> value = parse_duration(text);
        if (!value) return not_a_duration(text, time);
        const bool is_zero = time.takes_zero && value->count() == 0;
        if (!is_zero && (*value < time.least || *value > time.most))
            return fmt::format("{} is out of range ({})", tcpd::quoted(text), duration_range(time));
        if (*value % time.step != Duration::zero())
            return fmt::format("{} is not a multiple of {}", tcpd::quoted(text), format_duration(time.step));
        *time.at(target) = *value;
        return {};
    }
    Complaint operator()(const Size& size) const { return read_size(size, *size.at(target)); }
    Complaint read_size(const Size& size, uint64_t& to) const {
        const std::optional<uint64_t> value = parse_size(text);
        if (!value) return not_a_size(text, size);
        const bool is_zero = size.takes_zero && *value == 0;
        if (!is_zero && (*value < size.least || *value > size.most))
            return fmt::format("{} is out of range ({})", tcpd::quoted(text), size_range(size));
        to = *value;
        return {};
    }
    Complaint operator()(const WordOrSize& size) const {
        std::optional<uint64_t>& value = *size.at(target);
        if (text == size.instead) {
            value.reset();
            return {};
        }
        uint64_t bytes = 0;
        const Size range{nullptr, size.least, size.most, false, true};
        Complaint complaint = read_size(range, bytes);
        if (!complaint) {
            value = bytes;
        } else if (nearest(text, {size.instead})) {
            return fmt::format("{} is not known (did you mean {}?)", tcpd::quoted(text), size.instead);
        }
        return complaint;
    }
    Complaint operator()(const OptionalSize& size) const {
        return (*this)(Size{size.at, size.least, size.most});
    }
    Complaint operator()(const Bytes& bytes) const {
        std::optional<std::string> value = parse_hex(text);
        if (!value || value->empty())
            return fmt::format("{} is not bytes in hexadecimal (two digits each, such as \"0D0A\")",
                               tcpd::quoted(text));
        if (value->size() > bytes.most)
            return fmt::format("{} is {} bytes (at most {})", tcpd::quoted(text), value->size(), bytes.most);
        *bytes.at(target) = std::move(*value);
        return {};
    }
    Complaint operator()(const Choice& choice) const {
        for (size_t word = 0; word < choice.words.size(); ++word)
            if (choice.words[word] == text) {
                choice.set(target, word);
                return {};
            }
        return unknown_word(choice.words);
    }
    Complaint operator()(const Words& words) const {
        const auto found = std::find(words.words.begin(), words.words.end(), text);
        if (found == words.words.end()) return unknown_word(words.words);
        bool& is_set = *words.at(target, static_cast<size_t>(found - words.words.begin()));
        if (is_set) return fmt::format("{} is there twice", tcpd::quoted(text));
        is_set = true;
        return {};
    }
    Complaint operator()(const Account& account) const {
        if (!is_account_name(text)) return fmt::format("{} is not a name", tcpd::quoted(text));
        *account.at(target) = text;
        return {};
    }
    Complaint operator()(const Path& path) const {
        if (text.empty()) return std::string("is empty (a path is needed)");
        if (!path.instead.empty() && text == path.instead) {
            *path.at(target) = text;
            return {};
        }
        if (const std::string_view reason = unavailable_output(text);
            !path.instead.empty() && !reason.empty())
            return fmt::format("{} {}", text, reason);
        std::string full = absolute(text, folder);
        if (full.size() > path.most_bytes)
            return fmt::format("{} has {} bytes (at most {})", tcpd::quoted(full), full.size(),
                               path.most_bytes);
        *path.at(target) = std::move(full);
        return {};
    }
    Complaint operator()(const Mode& mode) const {
        if (text.size() != 4 || text[0] != '0' ||
            text.find_first_not_of("01234567") != std::string_view::npos)
            return fmt::format("{} is not a mode (four octal digits from 0000 to 0777, such as \"0660\")",
                               tcpd::quoted(text));
        *mode.at(target) =
            static_cast<unsigned>((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
        return {};
    }
    Complaint operator()(const Addresses& addresses) const {
        Result<std::vector<Address>> parsed = parse_addresses(from_folder(text, folder), addresses.is_listen);
        if (!parsed) return parsed.error().reason;
        std::vector<Address>& all = *addresses.at(target);
        const size_t sum = all.size() + parsed->size();
        if (sum == addresses.most + 1)
            return fmt::format("one address too many (at most {})", addresses.most);
        if (sum > addresses.most)
            return fmt::format("{} addresses too many (at most {})", sum - addresses.most, addresses.most);
        all.insert(all.end(), parsed->begin(), parsed->end());
        return {};
    }
    Complaint operator()(const Blocks& blocks) const {
        Result<AddressBlock> block = AddressBlock::parse(text);
        if (!block) return block.error().reason;
        blocks.at(target)->push_back(*block);
        return {};
    }
    Complaint operator()(const Ranges& ranges) const {
        Result<TypeRange> range = parse_type_range(text);
        if (!range) return range.error().reason;
        ranges.at(target)->push_back(*range);
        return {};
    }
    Complaint operator()(const ReplyName&) const {
        if (text.empty()) return std::string("is empty (the name of a framing is needed)");
        target.framing->replies = text;
        return {};
    }
    Complaint operator()(const DefaultRoute&) const {
        if (text == "true") return {};
        return fmt::format("{} is not true (a route that is no default has types)", tcpd::quoted(text));
    }
    Complaint operator()(const FrameError&) const {
        const std::optional<uint64_t> code = parse_number(text);
        if (!code || !is_frame_error(*code))
            return fmt::format("{} is no code of an error frame ({})", tcpd::quoted(text),
                               fmt::join(kFrameErrors, ", "));
        target.route->action = RouteAction::error;
        target.route->error = static_cast<unsigned>(*code);
        return {};
    }
    Complaint operator()(const HandlerChoice&) const {
        if (text == "echo" || text == "discard") {
            target.listener->handler.kind = text == "echo" ? HandlerKind::echo : HandlerKind::discard;
            return {};
        }
        if (text == "proxy") return std::string("the proxy needs an upstream (handler: {proxy: UPSTREAM})");
        if (text == "routes")
            return std::string("the routes are a list (handler: {routes: [{types: [1, 2], handler: echo}]})");
        static constexpr std::string_view kWords[] = {"echo", "discard", "{proxy: UPSTREAM}",
                                                      "{routes: [...]}"};
        return unknown_word(kWords);
    }
    Complaint operator()(const auto&) const { return {}; }

    Complaint unknown_word(std::span<const std::string_view> words) const {
        if (const auto near = nearest(text, {words.begin(), words.end()}))
            return fmt::format("{} is not known (did you mean {}?)", tcpd::quoted(text), *near);
        return fmt::format("{} is not known (known: {})", tcpd::quoted(text), joined(words, ", "));
    }
    static std::string describe_range(const Count& count) {
        return fmt::format("{} to {}", count.least, count.most);
    }
    static std::string describe_range(const OptionalCount& count) {
        return fmt::format("{}, or {} to {}", count.instead, count.least, count.most);
    }
};

}  // namespace

std::optional<std::string> read_value(const Row& row, const Target& target, std::string_view text,
                                      std::string_view folder) {
    return std::visit(ValueReader{target, text, folder}, row.kind);
}

std::string absolute(std::string_view path, std::string_view folder) {
    return (std::filesystem::path(folder) / path).lexically_normal().string();
}

}  // namespace tcpd::conf
