#pragma once

// One parsed file into the draft: walks the tree by the grammar and reports all that does not fit. Every
// process. Owns memory only: a death in here leaves nothing behind. Source: tcpd.yaml(5).

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "conf/draft.h"
#include "conf/grammar.h"
#include "conf/yaml/yaml_tree.h"

namespace tcpd::conf {

class FileReader {
public:
    FileReader(Draft& draft, const YamlTree& tree, std::string file, bool is_included);
    void read();

private:
    struct Entry {
        const Row* row;
        std::string key_path;
        const Node* key;
        const Node* value;
    };
    using Seen = std::map<std::string_view, Mark>;  // the keys of one map

    void read_section(const Entry& section, const Target& target);
    void read_entry(const Entry& entry, const Target& target);
    void read_names(const Entry& names);
    void read_name(const Entry& entry, bool is_new);
    void keep_listener(Listener listener);
    void keep_framing(Framing framing, const Entry& entry);
    void read_handler(const Entry& entry, const Target& target);
    void read_routes(const Entry& entry, const Target& target);
    void read_route(const Entry& entry, const Target& target);
    void read_one_or_list(const Entry& entry, const Target& target);
    void read_item(const Entry& entry, const Target& target);
    void read_inclusion(const Entry& entry);
    void read_address(const Entry& entry, const Target& target);
    void read_text(const Entry& entry, const Target& target);
    bool has_key(const Node& map, std::string_view key) const;

    bool is_plain_key(const Node& key, const std::string& key_path);
    bool is_first(Seen& seen, const Node& key, const std::string& key_path);
    bool is_name(const Node& key, const std::string& key_path);
    bool is_clean(const Entry& entry);
    bool is_kind(const Entry& entry, Node::Kind kind, const char* wanted);
    void report_unknown(const Node& key, std::string_view pattern, const std::string& key_path);
    void report_missing(const Entry& section, const Seen& seen);
    void report(const Node& node, const std::string& key_path, std::string message);
    Place place(const Node& node) const { return {file_, node.mark}; }

    Draft& draft_;
    const YamlTree& tree_;
    std::string file_, folder_;
    bool is_included_;
    // Of the listener in hand; into the draft once the listener itself is.
    std::vector<Bound> bound_;
    std::vector<NameUse> proxies_, framings_;
};

}  // namespace tcpd::conf
