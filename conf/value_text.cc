#include "conf/value_text.h"

#include <fmt/core.h>

#include "conf/listener/rate.h"
#include "conf/listener/routes.h"
#include "daemon/base/net/port_range.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

std::string yaml_quoted(std::string_view text) {
    std::string quoted = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return quoted + '"';
}

}  // namespace

// Bare only where YAML can't take it for anything but text.
std::string yaml_name(std::string_view name) {
    const bool begins_as_letter = (name[0] | 0x20) >= 'a' && (name[0] | 0x20) <= 'z';
    const bool may_mean_null = name.size() == 4 && (name[0] | 0x20) == 'n';
    return begins_as_letter && !may_mean_null ? std::string(name) : yaml_quoted(name);
}

namespace {

// A value as YAML that reads back as the same; nothing: it is absent.
struct ValuePrinter {
    const Target& target;

    std::optional<std::string> operator()(const Flag& flag) const {
        return *flag.at(target) ? "true" : "false";
    }
    std::optional<std::string> operator()(const Count& count) const {
        return std::to_string(*count.at(target));
    }
    std::optional<std::string> operator()(const OptionalCount& count) const {
        const std::optional<unsigned> value = *count.at(target);
        if (value) return std::to_string(*value);
        return count.instead.empty() ? std::nullopt : std::optional(std::string(count.instead));
    }
    std::optional<std::string> operator()(const SignedCount& count) const {
        return std::to_string(*count.at(target));
    }
    std::optional<std::string> operator()(const Limit& limit) const {
        return std::to_string(*limit.at(target));
    }
    std::optional<std::string> operator()(const RateLimit& limit) const {
        return format_rate(*limit.at(target));
    }
    std::optional<std::string> operator()(const Time& time) const {
        return format_duration(*time.at(target));
    }
    std::optional<std::string> operator()(const Size& size) const { return format_size(*size.at(target)); }
    std::optional<std::string> operator()(const WordOrSize& size) const {
        const std::optional<uint64_t> value = *size.at(target);
        return value ? format_size(*value) : std::string(size.instead);
    }
    std::optional<std::string> operator()(const OptionalSize& size) const {
        if (*size.at(target) == 0) return {};
        return format_size(*size.at(target));
    }
    std::optional<std::string> operator()(const Bytes& bytes) const {
        if (bytes.at(target)->empty()) return {};
        return yaml_quoted(format_hex(*bytes.at(target)));
    }
    std::optional<std::string> operator()(const Choice& choice) const {
        const size_t word = choice.get(target);
        if (word >= choice.words.size()) return {};
        return std::string(choice.words[word]);
    }
    std::optional<std::string> operator()(const Words& words) const {
        std::string list;
        for (size_t word = 0; word < words.words.size(); ++word)
            if (*words.at(target, word)) list += (list.empty() ? "" : ", ") + std::string(words.words[word]);
        if (list.empty()) return {};
        return "[" + list + "]";
    }
    std::optional<std::string> operator()(const Account& account) const { return text(*account.at(target)); }
    std::optional<std::string> operator()(const Path& path) const {
        const std::string& value = *path.at(target);
        return value == path.instead && !value.empty() ? value : text(value);
    }
    std::optional<std::string> operator()(const Mode& mode) const {
        const std::optional<unsigned> bits = *mode.at(target);
        if (!bits) return {};
        return fmt::format("\"{:04o}\"", *bits);
    }
    std::optional<std::string> operator()(const Addresses& addresses) const {
        std::string list;
        for (const std::string& text : listen_texts(*addresses.at(target)))
            list += (list.empty() ? "" : ", ") + yaml_quoted(text);
        return "[" + list + "]";
    }
    std::optional<std::string> operator()(const Blocks& blocks) const {
        std::string list;
        for (const AddressBlock& block : *blocks.at(target))
            list += (list.empty() ? "" : ", ") + yaml_quoted(block.text());
        return "[" + list + "]";
    }
    std::optional<std::string> operator()(const Ranges& ranges) const {
        std::string list;
        for (const TypeRange& range : *ranges.at(target))
            list += (list.empty() ? "" : ", ") + format_type_range(range);
        if (list.empty()) return {};
        return "[" + list + "]";
    }
    std::optional<std::string> operator()(const FramingName&) const {
        return yaml_name(target.listener->framing.name);
    }
    std::optional<std::string> operator()(const ReplyName&) const {
        if (target.framing->replies.empty()) return {};
        return yaml_name(target.framing->replies);
    }
    std::optional<std::string> operator()(const DefaultRoute&) const {
        if (!target.route->types.empty()) return {};
        return "true";
    }
    std::optional<std::string> operator()(const FrameError&) const {
        if (target.route->action != RouteAction::error) return {};
        return std::to_string(target.route->error);
    }
    std::optional<std::string> operator()(const HandlerChoice&) const {
        const Handler& handler = target.listener->handler;
        if (handler.kind == HandlerKind::echo) return "echo";
        if (handler.kind == HandlerKind::discard) return "discard";
        if (handler.kind == HandlerKind::routes) return {};  // more than one line
        return fmt::format("{{proxy: {}}}", yaml_name(target.config->upstreams.at(handler.upstream).name));
    }
    std::optional<std::string> operator()(const auto&) const { return {}; }

    static std::optional<std::string> text(const std::string& value) {
        if (value.empty()) return {};
        return yaml_quoted(value);
    }
};

}  // namespace

std::optional<std::string> value_text(const Row& row, const Target& target) {
    return std::visit(ValuePrinter{target}, row.kind);
}

}  // namespace tcpd::conf
