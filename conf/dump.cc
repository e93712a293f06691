#include <fmt/core.h>

#include "conf/grammar.h"
#include "conf/load.h"
#include "conf/value_text.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

constexpr size_t kCommentColumn = 44;

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
            if (row->need.is_met != nullptr && !row->need.is_met(*target.listener)) continue;
            if (depth == 0) text_ += '\n';
            if (std::holds_alternative<Names>(row->kind))
                print_names(*row, depth);
            else if (std::holds_alternative<Section>(row->kind))
                print_section(*row, row->key(), depth, target);
            else if (std::holds_alternative<HandlerChoice>(row->kind) &&
                     target.listener->handler.kind == HandlerKind::routes)
                print_routes(*row, depth, target);
            else
                print_value(*row, depth, target);
        }
    }

    void print_section(const Row& row, std::string_view key, size_t depth, const Target& target) {
        const auto& section = std::get<Section>(row.kind);
        if (section.is_there != nullptr && !section.is_there(target)) return;
        print_line(depth, fmt::format("{}:", key), row.about);
        print_below(row.path, depth + 1, target);
    }

    void print_names(const Row& row, size_t depth) {
        if (row.path == "listeners") print_each(row, depth, config_.listeners, &Target::listener);
        if (row.path == "upstreams") print_each(row, depth, config_.upstreams, &Target::upstream);
        if (row.path == "framings") print_each(row, depth, config_.framings, &Target::framing);
    }

    template <typename T>
    void print_each(const Row& row, size_t depth, std::vector<T>& all, T* Target::*member) {
        print_line(depth, fmt::format("{}:{}", row.key(), all.empty() ? " {}" : ""), row.about);
        const Row& section = *find_key(row.path, "NAME");
        for (T& one : all) {
            Target target{.config = &config_};
            target.*member = &one;
            print_section(section, yaml_name(one.name), depth + 1, target);
        }
    }

    void print_routes(const Row& handler, size_t depth, Target target) {
        const Row& routes = *find_key(handler.path, "routes");
        print_line(depth, fmt::format("{}:", handler.key()), handler.about);
        print_line(depth + 1, fmt::format("{}:", routes.key()), routes.about);
        for (Route& route : target.listener->handler.routes) {
            target.route = &route;
            std::string keys;
            for (const Row* row : rows_below(routes.path))
                if (const auto value = value_text(*row, target))
                    keys += fmt::format("{}{}: {}", keys.empty() ? "" : ", ", row->key(), *value);
            text_ += fmt::format("{:{}}- {{{}}}\n", "", (depth + 2) * 2, keys);
        }
    }

    // An absent key as a comment, so that it is seen that it could be there.
    void print_value(const Row& row, size_t depth, const Target& target) {
        const std::optional<std::string> value = value_text(row, target);
        if (value)
            print_line(depth, fmt::format("{}: {}", row.key(), *value), row.about);
        else
            print_line(depth, fmt::format("# {}: absent", row.key()), row.about);
    }

    void print_line(size_t depth, const std::string& line, std::string_view about) {
        const std::string indented = std::string(depth * 2, ' ') + line;
        text_ += fmt::format("{:<{}}  # {}\n", indented, kCommentColumn, about);
    }

    Config config_;
    std::string text_;
};

}  // namespace

std::string dump(const Config& config) { return Printer(config).print(); }

}  // namespace tcpd::conf
