#include "conf/yaml/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <string_view>

#include "conf/yaml/yaml_text.h"

namespace tcpd::conf {

const char* name_of(Node::Kind kind) {
    switch (kind) {
        case Node::Kind::null: return "nothing";
        case Node::Kind::scalar: return "a single value";
        case Node::Kind::list: return "a list";
        case Node::Kind::map: return "a map";
    }
    return "";
}

namespace {

Mark from_yaml(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

}  // namespace

// Throws SyntaxProblem to end the parse: the parser offers no other way out.
class TreeBuilder : public YAML::EventHandler {
public:
    TreeBuilder(YamlTree& tree, const std::string& text) : tree_(tree), text_(text) {}

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (++documents_ > 1)
            throw SyntaxProblem{from_yaml(mark), "a second document begins here (a file holds one)"};
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        add({.kind = Node::Kind::null, .mark = from_yaml(mark)}, anchor);
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        refuse_tag(mark, tag);
        if (!quote_is_closed(text_, static_cast<size_t>(mark.pos)))
            throw SyntaxProblem{from_yaml(mark), "the quote that begins here is never closed"};
        add({.kind = Node::Kind::scalar, .mark = from_yaml(mark), .text = value}, anchor);
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(Node::Kind::list, mark, tag, anchor);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(Node::Kind::map, mark, tag, anchor);
    }
    void OnMapEnd() override { close(); }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const uint32_t target = anchor < anchors_.size() ? anchors_[anchor] : 0;
        if (target == 0 || !tree_.nodes_[target].is_closed)
            throw SyntaxProblem{from_yaml(mark), "an alias inside of the very thing that it names"};
        attach(target);
    }

private:
    // Tags say how to read a value; here the key says it.
    void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
        if (!tag.empty() && tag != "?" && tag != "!")
            throw SyntaxProblem{from_yaml(mark), "a tag (!...) is not understood here (leave it out)"};
    }
    void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
        refuse_tag(mark, tag);
        const uint32_t index = add({.kind = kind, .is_closed = false, .mark = from_yaml(mark)}, anchor);
        if (stack_.size() == YamlTree::kMaxDepth)
            throw SyntaxProblem{from_yaml(mark), "nested too deeply (at most 64 levels)"};
        stack_.push_back(index);
    }
    void close() {
        tree_.nodes_[stack_.back()].is_closed = true;
        stack_.pop_back();
    }
    uint32_t add(Node node, YAML::anchor_t anchor) {
        if (tree_.nodes_.size() > YamlTree::kMaxNodes)
            throw SyntaxProblem{node.mark, "too much for one file (at most 100000 keys and values)"};
        const uint32_t index = static_cast<uint32_t>(tree_.nodes_.size());
        tree_.nodes_.push_back(std::move(node));
        if (anchor != 0) {
            if (anchors_.size() <= anchor) anchors_.resize(anchor + 1);
            anchors_[anchor] = index;
        }
        attach(index);
        return index;
    }
    void attach(uint32_t index) {
        if (stack_.empty())
            tree_.root_ = index;
        else
            tree_.nodes_[stack_.back()].children.push_back(index);
    }

    YamlTree& tree_;
    const std::string& text_;
    int documents_ = 0;
    std::vector<uint32_t> stack_;    // open lists and maps, the innermost last
    std::vector<uint32_t> anchors_;  // by the parser's number of the anchor
};

namespace {

void run_parser(TreeBuilder& builder, const std::string& text) {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) continue;
}

std::optional<SyntaxProblem> build(TreeBuilder& builder, const std::string& text) {
    try {
        run_parser(builder, text);
    } catch (const SyntaxProblem& problem) {
        return problem;
    } catch (const YAML::Exception& exception) {
        const Mark mark = from_yaml(exception.mark);
        return SyntaxProblem{mark, explain(exception.msg, text, mark.line)};
    } catch (const std::exception&) {
        return SyntaxProblem{{}, explain({}, text, 0)};
    }
    return {};
}

}  // namespace

YamlTree YamlTree::parse(std::string text) {
    YamlTree tree;
    strip_byte_order_mark(text);
    tree.problem_ = find_not_text(text);
    if (!tree.problem_ && text.size() > kMaxBytes)
        tree.problem_ = SyntaxProblem{{}, "larger than 1MiB, which no config file should be"};
    if (tree.problem_) return tree;
    TreeBuilder builder(tree, text);
    tree.problem_ = build(builder, text);
    return tree;
}

}  // namespace tcpd::conf
