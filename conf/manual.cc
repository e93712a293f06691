#include "conf/manual.h"

#include <fmt/format.h>

#include "conf/listener/routes.h"
#include "conf/value_text.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

// As roff text: no dash is a hyphen, no backslash a request.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else
            out += c;
    }
    return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

struct KindPrinter {
    std::string operator()(const Flag&) const { return "true or false"; }
    std::string operator()(const Count& count) const {
        return fmt::format("a number from {} to {}", count.least, count.most);
    }
    std::string operator()(const OptionalCount& count) const {
        const std::string range = fmt::format("a number from {} to {}", count.least, count.most);
        return count.instead.empty() ? range : fmt::format("{}, or {}", range, count.instead);
    }
    std::string operator()(const SignedCount& count) const {
        return fmt::format("a number from {} to {}", count.least, count.most);
    }
    std::string operator()(const OptionalSize&) const { return "a size"; }
    std::string operator()(const Bytes& bytes) const {
        return fmt::format("1 to {} bytes in hexadecimal, in quotes", bytes.most);
    }
    std::string operator()(const Limit&) const { return "a number"; }
    std::string operator()(const RateLimit&) const { return "a rate, or 0"; }
    std::string operator()(const Time& time) const {
        return time.takes_zero ? "a duration, or 0" : "a duration";
    }
    std::string operator()(const Size& size) const { return size.takes_zero ? "a size, or 0" : "a size"; }
    std::string operator()(const WordOrSize& size) const {
        return fmt::format("{}, a size, or 0", size.instead);
    }
    std::string operator()(const Choice& choice) const { return joined(choice.words, " | "); }
    std::string operator()(const Words& words) const {
        return fmt::format("one or a list of: {}", joined(words.words, ", "));
    }
    std::string operator()(const Account&) const { return "a name"; }
    std::string operator()(const Path& path) const {
        return path.instead.empty() ? "a path" : fmt::format("a path, or {}", path.instead);
    }
    std::string operator()(const Mode&) const { return "four octal digits in quotes"; }
    std::string operator()(const Addresses&) const { return "an address or a list"; }
    std::string operator()(const Blocks&) const { return "a CIDR block or a list"; }
    std::string operator()(const Ranges&) const { return "a number, a range or a list"; }
    std::string operator()(const FramingName&) const { return "the name of a framing"; }
    std::string operator()(const ReplyName&) const { return "the name of a framing"; }
    std::string operator()(const Routes&) const { return "a list of maps"; }
    std::string operator()(const DefaultRoute&) const { return "true"; }
    std::string operator()(const FrameError&) const {
        return fmt::format("{}", fmt::join(kFrameErrors, " | "));
    }
    std::string operator()(const UpstreamName&) const { return "the name of an upstream"; }
    std::string operator()(const Names&) const { return "a map of names"; }
    std::string operator()(const Section&) const { return "a map"; }
    std::string operator()(const Include&) const { return "a path, a pattern or a list"; }
    std::string operator()(const HandlerChoice&) const { return "a word or a map"; }
};

bool has_default(const Row& row) {
    if (const Choice* choice = std::get_if<Choice>(&row.kind)) return choice->has_default;
    if (const Size* size = std::get_if<Size>(&row.kind)) return !size->is_framings;
    return !std::holds_alternative<DefaultRoute>(row.kind) && !std::holds_alternative<Addresses>(row.kind) &&
           !std::holds_alternative<HandlerChoice>(row.kind) &&
           !std::holds_alternative<UpstreamName>(row.kind);
}

}  // namespace

std::string manual_keys() {
    Config config;
    Listener listener;
    Upstream upstream;
    Framing framing;
    Route route;
    const Target target{.config = &config,
                        .listener = &listener,
                        .upstream = &upstream,
                        .framing = &framing,
                        .route = &route};
    std::string text;
    for (const Row& row : grammar()) {
        text += fmt::format(".TP\n\\fB{}\\fR ({}", escaped(row.path),
                            escaped(std::visit(KindPrinter{}, row.kind)));
        const auto value = has_default(row) ? value_text(row, target) : std::nullopt;
        if (value) text += fmt::format("; default {}", escaped(*value));
        if (!row.when_missing.empty()) text += "; required";
        text += fmt::format(")\n{}\n", escaped(row.about));
    }
    return text;
}

}  // namespace tcpd::conf
