#include <fmt/core.h>

#include "conf/grammar.h"
#include "conf/load.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

constexpr size_t kCommentColumn = 44;

std::string yaml_quoted(std::string_view text) {
    std::string quoted = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return quoted + '"';
}

// Bare only where YAML can't take it for anything but text.
std::string yaml_name(std::string_view name) {
    const bool begins_as_letter = (name[0] | 0x20) >= 'a' && (name[0] | 0x20) <= 'z';
    const bool may_mean_null = name.size() == 4 && (name[0] | 0x20) == 'n';
    return begins_as_letter && !may_mean_null ? std::string(name) : yaml_quoted(name);
}

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
        return value ? std::to_string(*value) : std::string(count.instead);
    }
    std::optional<std::string> operator()(const Limit& limit) const {
        return std::to_string(*limit.at(target));
    }
    std::optional<std::string> operator()(const Time& time) const {
        return format_duration(*time.at(target));
    }
    std::optional<std::string> operator()(const Size& size) const { return format_size(*size.at(target)); }
    std::optional<std::string> operator()(const Choice& choice) const {
        return std::string(choice.words[choice.get(target)]);
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
        for (const Address& address : *addresses.at(target))
            list += (list.empty() ? "" : ", ") + yaml_quoted(address.text());
        return "[" + list + "]";
    }
    std::optional<std::string> operator()(const HandlerChoice&) const {
        const Handler& handler = target.listener->handler;
        if (handler.kind == HandlerKind::echo) return "echo";
        if (handler.kind == HandlerKind::discard) return "discard";
        return fmt::format("{{proxy: {}}}", yaml_name(target.config->upstreams.at(handler.upstream).name));
    }
    std::optional<std::string> operator()(const auto&) const { return {}; }

    static std::optional<std::string> text(const std::string& value) {
        if (value.empty()) return {};
        return yaml_quoted(value);
    }
};

class Printer {
public:
    explicit Printer(Config config) : config_(std::move(config)) {}

    std::string print() {
        text_ = fmt::format("# {}, in full\n", config_.path);
        print_below("", 0, {.config = &config_});
        return std::move(text_);
    }

private:
    void print_below(std::string_view path, size_t depth, const Target& target) {
        for (const Row* row : rows_below(path)) {
            if (std::holds_alternative<Include>(row->kind)) continue;  // what it named is here
            if (depth == 0) text_ += '\n';
            if (std::holds_alternative<Names>(row->kind))
                print_names(*row, depth);
            else if (std::holds_alternative<Section>(row->kind))
                print_section(*row, row->key(), depth, target);
            else
                print_value(*row, depth, target);
        }
    }

    void print_section(const Row& row, std::string_view key, size_t depth, const Target& target) {
        if (row.path == "listeners.NAME.unix" && !has_unix_keys(*target.listener)) return;
        print_line(depth, fmt::format("{}:", key), row.about);
        print_below(row.path, depth + 1, target);
    }

    void print_names(const Row& row, size_t depth) {
        const bool is_listeners = row.path == "listeners";
        const size_t count = is_listeners ? config_.listeners.size() : config_.upstreams.size();
        print_line(depth, fmt::format("{}:{}", row.key(), count == 0 ? " {}" : ""), row.about);
        const Row& section = *find_key(row.path, "NAME");
        for (size_t at = 0; at < count; ++at) {
            Target target{.config = &config_};
            (is_listeners ? static_cast<void>(target.listener = &config_.listeners[at])
                          : static_cast<void>(target.upstream = &config_.upstreams[at]));
            const std::string& name = is_listeners ? target.listener->name : target.upstream->name;
            print_section(section, yaml_name(name), depth + 1, target);
        }
    }

    // An absent key as a comment, so that it is seen that it could be there.
    void print_value(const Row& row, size_t depth, const Target& target) {
        const std::optional<std::string> value = std::visit(ValuePrinter{target}, row.kind);
        if (value)
            print_line(depth, fmt::format("{}: {}", row.key(), *value), row.about);
        else
            print_line(depth, fmt::format("# {}: absent", row.key()), row.about);
    }

    void print_line(size_t depth, const std::string& line, std::string_view about) {
        const std::string indented = std::string(depth * 2, ' ') + line;
        text_ += fmt::format("{:<{}}  # {}\n", indented, kCommentColumn, about);
    }

    static bool has_unix_keys(const Listener& listener) { return listener.unix_socket != UnixSocket{}; }

    Config config_;
    std::string text_;
};

}  // namespace

std::string dump(const Config& config) { return Printer(config).print(); }

}  // namespace tcpd::conf
