#pragma once

// YAML text as a tree with the place of every node: the parser's events, built into one array. Duplicate keys
// stay, an alias is the node that it names, and what could eat memory or stack (size, depth, number of nodes)
// ends the parse. Every process. No exception of the parser leaves here, nor its wording. Owns memory only: a
// death in here leaves nothing behind. Source: YAML 1.2, yaml-cpp's EventHandler.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tcpd::conf {

struct Mark {
    int line = 0, column = 0;  // from 1; columns are bytes
};

struct Node {
    enum class Kind : uint8_t { null, scalar, list, map };
    Kind kind = Kind::null;
    bool is_closed = true;  // false while its end is not read: an alias to it would hold itself
    Mark mark;
    std::string text;                // of a scalar
    std::vector<uint32_t> children;  // of a list its items; of a map key, value, key, value
};

// "a list", for messages.
const char* name_of(Node::Kind kind);

struct SyntaxProblem {
    Mark mark;
    std::string message;
};

class YamlTree {
public:
    static constexpr size_t kMaxBytes = 1024 * 1024;
    static constexpr size_t kMaxDepth = 64;
    static constexpr size_t kMaxNodes = 100'000;

    // The one document in `text`. None, or nothing but comments: the root is null.
    static YamlTree parse(std::string text);

    const std::optional<SyntaxProblem>& problem() const { return problem_; }
    const Node& root() const { return nodes_[root_]; }
    const Node& child(const Node& parent, size_t index) const { return nodes_[parent.children[index]]; }

private:
    friend class TreeBuilder;
    std::vector<Node> nodes_{1};
    uint32_t root_ = 0;
    std::optional<SyntaxProblem> problem_;
};

}  // namespace tcpd::conf
