#include "conf/reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "conf/values.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

constexpr size_t kMaxInclusions = 1000;
constexpr size_t kMaxRoutes = 256;

// The top of a file, where no row stands.
const Row kTop{"", Section{}, "", ""};

std::string place_text(const Place& place) {
    return fmt::format("{}:{}:{}", place.file, place.mark.line, place.mark.column);
}

template <typename T>
bool is_a(const Row& row) {
    return std::holds_alternative<T>(row.kind);
}

}  // namespace

FileReader::FileReader(Draft& draft, const YamlTree& tree, std::string file, bool is_included)
    : draft_(draft),
      tree_(tree),
      file_(std::move(file)),
      folder_(std::filesystem::path(file_).parent_path().string()),
      is_included_(is_included) {}

void FileReader::read() {
    const Node& root = tree_.root();
    if (root.kind == Node::Kind::null) return;
    if (root.kind != Node::Kind::map)
        return report(root, {},
                      fmt::format("a file is a map of keys (listeners: ...), not {}", name_of(root.kind)));
    read_section({&kTop, {}, &root, &root}, {.config = &draft_.config});
}

void FileReader::read_section(const Entry& section, const Target& target) {
    Seen seen;
    const Node& map = *section.value;
    for (size_t at = 0; at + 1 < map.children.size(); at += 2) {
        const Node& key = tree_.child(map, at);
        if (!is_plain_key(key, section.key_path)) continue;
        const std::string key_path = below(section.key_path, key.text);
        is_first(seen, key, key_path);
        const Row* row = find_key(section.row->path, key.text);
        if (row == nullptr)
            report_unknown(key, section.row->path, key_path);
        else
            read_entry({row, key_path, &key, &tree_.child(map, at + 1)}, target);
    }
    report_missing(section, seen);
}

void FileReader::read_entry(const Entry& entry, const Target& target) {
    const Row& row = *entry.row;
    draft_.set_place(entry.key_path, place(*entry.key));
    if (is_included_ && row.parent().empty() && !row.in_included)
        return report(
            *entry.key, entry.key_path,
            "belongs into the main file (an included one holds only listeners, upstreams and framings)");
    if (entry.value->kind == Node::Kind::null)
        return report(*entry.key, entry.key_path, "has no value (leave the key out, or give it one)");
    if (is_a<Names>(row)) return read_names(entry);
    if (is_a<HandlerChoice>(row) && entry.value->kind == Node::Kind::map) return read_handler(entry, target);
    if (is_a<Routes>(row)) return read_routes(entry, target);
    if (is_a<Addresses>(row) || is_a<Include>(row) || is_a<Blocks>(row) || is_a<Ranges>(row) ||
        is_a<Words>(row))
        return read_one_or_list(entry, target);
    if (!is_a<Section>(row)) return read_text(entry, target);
    if (is_kind(entry, Node::Kind::map, "a map of keys")) read_section(entry, target);
}

void FileReader::read_names(const Entry& names) {
    if (!is_kind(names, Node::Kind::map, "a map of names (NAME: {...})")) return;
    Seen seen;
    const Row* row = find_key(names.row->path, "NAME");
    for (size_t at = 0; at + 1 < names.value->children.size(); at += 2) {
        const Node& key = tree_.child(*names.value, at);
        if (draft_.is_full()) return;
        if (!is_plain_key(key, names.key_path)) continue;
        const std::string key_path = below(names.key_path, key.text);
        if (!is_name(key, key_path)) continue;
        const bool is_new = is_first(seen, key, key_path);
        read_name({row, key_path, &key, &tree_.child(*names.value, at + 1)}, is_new);
    }
}

// One that is not new is read all the same, for what else is wrong in it, and then dropped.
void FileReader::read_name(const Entry& entry, bool is_new) {
    Listener listener{.name = entry.key->text};
    Upstream upstream{.name = entry.key->text};
    Framing framing{.name = entry.key->text};
    bound_.clear();
    proxies_.clear();
    framings_.clear();
    if (is_new && draft_.is_written(entry.key_path)) {
        report(*entry.key, entry.key_path,
               fmt::format("is there already, at {} (an included file adds names, it replaces none)",
                           place_text(draft_.place_of(entry.key_path))));
        is_new = false;
    }
    read_entry(entry,
               {.config = &draft_.config, .listener = &listener, .upstream = &upstream, .framing = &framing});
    if (!is_new) return;
    Config& config = draft_.config;
    const std::string_view kind = entry.row->parent();
    const size_t count = kind == "listeners"   ? config.listeners.size()
                         : kind == "upstreams" ? config.upstreams.size()
                                               : config.framings.size();
    if (count == kMaxNames)
        return report(*entry.key, entry.key_path, fmt::format("is one too many (at most {})", kMaxNames));
    if (kind == "listeners")
        keep_listener(std::move(listener));
    else if (kind == "upstreams")
        config.upstreams.push_back(std::move(upstream));
    else
        keep_framing(std::move(framing), entry);
}

void FileReader::keep_listener(Listener listener) {
    const size_t index = draft_.config.listeners.size();
    for (Bound& bound : bound_) bound.listener = index;
    for (NameUse& proxy : proxies_) proxy.listener = index;
    for (NameUse& framing : framings_) framing.listener = index;
    draft_.bound.insert(draft_.bound.end(), bound_.begin(), bound_.end());
    draft_.proxies.insert(draft_.proxies.end(), proxies_.begin(), proxies_.end());
    draft_.framings.insert(draft_.framings.end(), framings_.begin(), framings_.end());
    draft_.config.listeners.push_back(std::move(listener));
}

// Of the three keys that say how it is cut there is one; a name that is built in can't be declared.
void FileReader::keep_framing(Framing framing, const Entry& entry) {
    const auto has = [&](const char* key) { return draft_.is_written(below(entry.key_path, key)); };
    const int ways = has("length") + has("delimiter") + has("fixed");
    if (ways != 1)
        report(*entry.key, entry.key_path,
               ways == 0 ? "does not say how frames are cut (give it length, delimiter or fixed)"
                         : "says more than once how frames are cut (one of length, delimiter, fixed)");
    if (find_built_in_framing(framing.name) != nullptr)
        report(*entry.key, entry.key_path, "is built in (take another name)");
    framing.kind = has("length")      ? FramingKind::length
                   : has("delimiter") ? FramingKind::delimiter
                                      : FramingKind::fixed;
    draft_.config.framings.push_back(std::move(framing));
}

void FileReader::read_handler(const Entry& entry, const Target& target) {
    if (entry.value->children.size() != 2)
        return report(*entry.value, entry.key_path,
                      "needs exactly one key ({proxy: UPSTREAM} or {routes: [...]})");
    read_section(entry, target);
}

void FileReader::read_routes(const Entry& entry, const Target& target) {
    target.listener->handler.kind = HandlerKind::routes;
    if (!is_kind(entry, Node::Kind::list, "a list of routes ([{types: [1, 2], handler: echo}, ...])")) return;
    const size_t count = entry.value->children.size();
    if (count == 0 || count > kMaxRoutes)
        return report(*entry.value, entry.key_path,
                      count == 0 ? "is an empty list (at least one route is needed)"
                                 : fmt::format("has {} routes (at most {})", count, kMaxRoutes));
    for (size_t at = 0; at < count; ++at) {
        const Node& item = tree_.child(*entry.value, at);
        read_route({entry.row, fmt::format("{}[{}]", entry.key_path, at), &item, &item}, target);
    }
}

// Which frames it takes and what is done with them is said once each.
void FileReader::read_route(const Entry& entry, const Target& target) {
    draft_.set_place(entry.key_path, place(*entry.value));
    Target inside = target;
    inside.route = &target.listener->handler.routes.emplace_back();  // so that numbers in paths are its own
    if (!is_kind(entry, Node::Kind::map, "a map of keys ({types: [1, 2], handler: echo})")) return;
    read_section(entry, inside);
    const int matches = has_key(*entry.value, "types") + has_key(*entry.value, "default");
    const int actions = has_key(*entry.value, "handler") + has_key(*entry.value, "error");
    if (matches != 1)
        report(*entry.value, entry.key_path,
               matches == 0 ? "does not say which frames it takes (give it types, or default: true)"
                            : "has types and default (one of them: a default takes every type)");
    if (actions != 1)
        report(*entry.value, entry.key_path,
               actions == 0 ? "does not say what is done (give it handler or error)"
                            : "has handler and error (one of them)");
}

void FileReader::read_one_or_list(const Entry& entry, const Target& target) {
    if (entry.value->kind != Node::Kind::list) return read_item(entry, target);
    const Blocks* blocks = std::get_if<Blocks>(&entry.row->kind);
    const Ranges* ranges = std::get_if<Ranges>(&entry.row->kind);
    if (entry.value->children.empty() && blocks != nullptr) return;
    if (entry.value->children.empty())
        return report(*entry.value, entry.key_path, "is an empty list (at least one entry is needed)");
    const Addresses* addresses = std::get_if<Addresses>(&entry.row->kind);
    const size_t most = addresses ? addresses->most
                        : blocks  ? blocks->most
                        : ranges  ? ranges->most
                                  : kMaxInclusions;
    if (entry.value->children.size() > most)
        return report(*entry.value, entry.key_path,
                      fmt::format("has {} entries (at most {})", entry.value->children.size(), most));
    for (size_t at = 0; at < entry.value->children.size(); ++at) {
        const Node& item = tree_.child(*entry.value, at);
        read_item({entry.row, fmt::format("{}[{}]", entry.key_path, at), &item, &item}, target);
    }
}

void FileReader::read_item(const Entry& entry, const Target& target) {
    if (is_a<Include>(*entry.row))
        read_inclusion(entry);
    else if (is_a<Addresses>(*entry.row))
        read_address(entry, target);
    else
        read_text(entry, target);
}

void FileReader::read_inclusion(const Entry& entry) {
    if (!is_kind(entry, Node::Kind::scalar, "a file or a pattern (conf.d/*.yaml)") || !is_clean(entry))
        return;
    if (entry.value->text.empty())
        return report(*entry.value, entry.key_path, "is empty (a file or a pattern is needed)");
    draft_.inclusions.push_back({absolute(entry.value->text, folder_), entry.key_path, place(*entry.value)});
}

void FileReader::read_address(const Entry& entry, const Target& target) {
    const Addresses& addresses = std::get<Addresses>(entry.row->kind);
    if (!is_kind(entry, Node::Kind::scalar, "an address (with a [ or * in it, in quotes: \"[::1]:7000\")"))
        return;
    std::vector<Address>& all = *addresses.at(target);
    const size_t before = all.size();
    read_text(entry, target);
    if (!addresses.is_listen) return;
    for (size_t at = before; at < all.size(); ++at)
        bound_.push_back({all[at], 0, entry.key_path, place(*entry.value)});
}

void FileReader::read_text(const Entry& entry, const Target& target) {
    if (!is_kind(entry, Node::Kind::scalar, "one value") || !is_clean(entry)) return;
    if (is_a<UpstreamName>(*entry.row)) {
        target.listener->handler.kind = HandlerKind::proxy;
        proxies_.push_back({0, entry.value->text, entry.key_path, place(*entry.value)});
        return;
    }
    if (is_a<FramingName>(*entry.row)) {
        framings_.push_back({0, entry.value->text, entry.key_path, place(*entry.value)});
        return;
    }
    if (auto complaint = read_value(*entry.row, target, entry.value->text, folder_))
        report(*entry.value, entry.key_path, std::move(*complaint));
}

bool FileReader::has_key(const Node& map, std::string_view key) const {
    for (size_t at = 0; at + 1 < map.children.size(); at += 2)
        if (tree_.child(map, at).text == key) return true;
    return false;
}

bool FileReader::is_plain_key(const Node& key, const std::string& key_path) {
    if (key.kind == Node::Kind::scalar) return true;
    report(key, key_path, fmt::format("a key is plain text, not {}", name_of(key.kind)));
    return false;
}

bool FileReader::is_first(Seen& seen, const Node& key, const std::string& key_path) {
    const auto [first, is_new] = seen.emplace(key.text, key.mark);
    if (!is_new)
        report(key, key_path,
               fmt::format("is there twice (first at {})", place_text({file_, first->second})));
    return is_new;
}

bool FileReader::is_name(const Node& key, const std::string& key_path) {
    const bool is_fine = !key.text.empty() && key.text.size() <= kMaxNameBytes &&
                         std::all_of(key.text.begin(), key.text.end(), [](unsigned char c) {
                             return std::isalnum(c) || c == '_' || c == '.' || c == '-';
                         });
    if (!is_fine)
        report(key, key_path, fmt::format("is no name (1 to {} of a-z, A-Z, 0-9, _ . -)", kMaxNameBytes));
    return is_fine;
}

bool FileReader::is_kind(const Entry& entry, Node::Kind kind, const char* wanted) {
    if (entry.value->kind == kind) return true;
    const bool is_null = entry.value->kind == Node::Kind::null;
    report(is_null ? *entry.key : *entry.value, entry.key_path,
           fmt::format("needs {}, not {}", wanted, name_of(entry.value->kind)));
    return false;
}

// Escapes in double quotes can bring in what the text itself may not hold.
bool FileReader::is_clean(const Entry& entry) {
    const std::string& text = entry.value->text;
    const bool is_clean =
        std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
    if (!is_clean) report(*entry.value, entry.key_path, "has a control character in it");
    return is_clean;
}

void FileReader::report_unknown(const Node& key, std::string_view pattern, const std::string& key_path) {
    report(key, key_path, "unknown key (" + suggest_key(pattern, key.text) + ")");
}

void FileReader::report_missing(const Entry& section, const Seen& seen) {
    if (section.row == &kTop) return;  // other files may have it
    for (const Row* row : rows_below(section.row->path))
        if (!row->when_missing.empty() && !seen.contains(row->key()))
            report(*section.key, below(section.key_path, row->key()), std::string(row->when_missing));
}

void FileReader::report(const Node& node, const std::string& key_path, std::string message) {
    draft_.add_problem(place(node), key_path, std::move(message));
}

}  // namespace tcpd::conf
