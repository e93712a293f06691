#include <fmt/core.h>

#include "conf/grammar.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

std::string_view Row::key() const {
    const size_t dot = path.rfind('.');
    return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

std::string_view Row::parent() const {
    const size_t dot = path.rfind('.');
    return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

std::vector<const Row*> rows_below(std::string_view path) {
    std::vector<const Row*> rows;
    for (const Row& row : grammar())
        if (row.parent() == path) rows.push_back(&row);
    return rows;
}

const Row* find_key(std::string_view path, std::string_view key) {
    for (const Row& row : grammar())
        if (row.key() == key && row.parent() == path) return &row;
    return nullptr;
}

namespace {

std::string_view first_step(std::string_view path) { return path.substr(0, path.find('.')); }

bool is_below(std::string_view row_path, std::string_view path) {
    return !path.empty() && row_path.size() > path.size() && row_path.starts_with(path) &&
           row_path[path.size()] == '.';
}

// Keys of this name that stand elsewhere: deeper here, else under the same key of the top, else anywhere.
std::string find_elsewhere(std::string_view path, std::string_view key) {
    std::vector<std::string_view> deeper, beside, anywhere;
    for (const Row& row : grammar()) {
        if (row.key() != key || key == "NAME" || row.path == path) continue;
        if (is_below(row.path, path)) deeper.push_back(row.path.substr(path.size() + 1));
        if (first_step(row.path) == first_step(path)) beside.push_back(row.path);
        anywhere.push_back(row.path);
    }
    return joined(!deeper.empty() ? deeper : !beside.empty() ? beside : anywhere, " or ");
}

}  // namespace

std::string suggest_key(std::string_view path, std::string_view key) {
    if (key == "<<") return "YAML's merge is not supported; an alias can stand for a whole value";
    std::vector<std::string_view> known;
    for (const Row* row : rows_below(path)) known.push_back(row->key());
    if (const auto near = nearest(key, known)) return fmt::format("did you mean {}?", *near);
    if (const std::string elsewhere = find_elsewhere(path, key); !elsewhere.empty())
        return fmt::format("did you mean {}?", elsewhere);
    return "known: " + joined(known, ", ");
}

}  // namespace tcpd::conf
