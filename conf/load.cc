#include "conf/load.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "conf/check.h"
#include "conf/draft.h"
#include "conf/listener/tokens.h"
#include "conf/reader.h"
#include "conf/values.h"
#include "conf/yaml/yaml_tree.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

constexpr size_t kMaxIncludedFiles = 1000;
constexpr size_t kMaxTotalBytes = 8 * 1024 * 1024;

class Loader {
public:
    Loader(Source& source, Draft& draft) : source_(source), draft_(draft) {}

    void load_main(const std::string& path) {
        draft_.config.path = path;
        Result<std::string> text = source_.read(path);
        if (!text) return draft_.add_problem({path, {}}, {}, "cannot be read: " + text.error().cause());
        const std::optional<YamlTree> tree = parse(path, std::move(*text));
        if (!tree) return;
        FileReader(draft_, *tree, path, false).read();
        is_main_read_ = is_whole_ =
            tree->root().kind == Node::Kind::map || tree->root().kind == Node::Kind::null;
        for (const Inclusion& inclusion : draft_.inclusions) include(inclusion);
        for (Listener& listener : draft_.config.listeners)
            if (!listener.auth.tokens_path.empty()) read_tokens(listener);
    }
    bool is_main_read() const { return is_main_read_; }
    bool is_whole() const { return is_whole_; }

private:
    std::optional<YamlTree> parse(const std::string& path, std::string text) {
        draft_.begin_file(path);
        total_bytes_ += text.size();
        YamlTree tree = YamlTree::parse(std::move(text));
        if (!tree.problem()) return tree;
        is_whole_ = false;
        draft_.add_problem({path, tree.problem()->mark}, {}, tree.problem()->message);
        return {};
    }

    void include(const Inclusion& inclusion) {
        if (inclusion.is_plain()) return include_file(inclusion, inclusion.pattern);
        const Result<std::vector<std::string>> paths = source_.match(inclusion.pattern);
        if (!paths)
            return draft_.add_problem(
                inclusion.place, inclusion.key_path,
                fmt::format("{}: {}", tcpd::quoted(inclusion.pattern), paths.error().cause()));
        for (const std::string& path : *paths) include_file(inclusion, path);
    }

    void include_file(const Inclusion& inclusion, const std::string& path) {
        const std::vector<std::string>& files = draft_.files();
        if (path == draft_.config.path)
            return draft_.add_problem(inclusion.place, inclusion.key_path,
                                      "names the file that it stands in: an include loop");
        if (std::find(files.begin(), files.end(), path) != files.end()) return;
        if (files.size() > kMaxIncludedFiles)
            return draft_.add_problem(
                inclusion.place, inclusion.key_path,
                fmt::format("{} is one file too many (at most {})", tcpd::quoted(path), kMaxIncludedFiles));
        Result<std::string> text = source_.read(path);
        if (!text) {
            is_whole_ = false;
            return draft_.add_problem(
                inclusion.place, inclusion.key_path,
                fmt::format("{} cannot be read: {}", tcpd::quoted(path), text.error().cause()));
        }
        if (total_bytes_ + text->size() > kMaxTotalBytes)
            return draft_.add_problem(
                inclusion.place, inclusion.key_path,
                fmt::format("up to {} the files have more than 8MiB together", tcpd::quoted(path)));
        const std::optional<YamlTree> tree = parse(path, std::move(*text));
        if (tree) FileReader(draft_, *tree, path, true).read();
    }

    // Several listeners may name one file.
    void read_tokens(Listener& listener) {
        const std::string& path = listener.auth.tokens_path;
        const std::string key_path = below("listeners", listener.name) + ".auth.tokens";
        const Result<std::string> text = source_.read(path);
        if (!text)
            return draft_.add_problem(
                key_path, fmt::format("{} cannot be read: {}", tcpd::quoted(path), text.error().cause()));
        const auto [known, is_new] = tokens_.try_emplace(path);
        if (is_new) {
            total_bytes_ += text->size();
            if (total_bytes_ > kMaxTotalBytes)
                return draft_.add_problem(
                    key_path,
                    fmt::format("up to {} the files have more than 8MiB together", tcpd::quoted(path)));
            draft_.begin_file(path);
            const size_t problems = draft_.problem_count();
            known->second = parse_tokens(draft_, path, *text);
            if (known->second.empty() && draft_.problem_count() == problems)
                draft_.add_problem(key_path, fmt::format("{} has no token in it (a line for each, "
                                                         "identity:sha256-hex)",
                                                         tcpd::quoted(path)));
        }
        listener.auth.tokens = known->second;
    }

    Source& source_;
    Draft& draft_;
    std::map<std::string, std::vector<Token>> tokens_;  // by path
    size_t total_bytes_ = 0;
    bool is_main_read_ = false;
    bool is_whole_ = false;  // every file could be read: what is not there is missing
};

}  // namespace

Loaded load(Source& source, const std::string& path, Purpose purpose) {
    Draft draft;
    draft.purpose = purpose;
    Loader loader(source, draft);
    loader.load_main(path);
    if (loader.is_main_read()) check_together(draft, loader.is_whole());
    if (loader.is_main_read() && source.is_live() && purpose != Purpose::cut_frames) check_machine(draft);
    return {std::move(draft.config), draft.take_sorted_problems(), std::move(draft.warnings)};
}

Result<Loaded> load_bundle(int fd) {
    Result<Snapshot> snapshot = read_bundle(fd);
    if (!snapshot) return std::move(snapshot.error());
    const std::string path = snapshot->main_path;
    SnapshotSource source(std::move(*snapshot));
    return load(source, path);
}

}  // namespace tcpd::conf
