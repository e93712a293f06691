#include "conf/draft.h"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>

#include "daemon/base/text.h"

namespace tcpd::conf {

void Draft::set_place(const std::string& key_path, const Place& place) { places_.emplace(key_path, place); }

Place Draft::place_of(std::string key_path) const {
    for (;;) {
        if (const auto place = places_.find(key_path); place != places_.end()) return place->second;
        const size_t dot = key_path.rfind('.');
        if (dot == std::string::npos) return {config.path, {}};
        key_path.resize(dot);
    }
}

bool Draft::has_problem_below(std::string_view key) const {
    return std::any_of(problems_.begin(), problems_.end(), [&](const Problem& problem) {
        const std::string& path = problem.key_path;
        return path.starts_with(key) &&
               (path.size() == key.size() || path[key.size()] == '.' || path[key.size()] == '[');
    });
}

void Draft::add_problem(const Place& place, std::string key_path, std::string message) {
    if (is_full()) return;
    if (problems_.size() == kMaxProblems)
        message = "there is more after this (mend these first)", key_path = {};
    problems_.push_back(
        {place.file, place.mark.line, place.mark.column, std::move(key_path), std::move(message)});
}

void Draft::add_problem(const std::string& key_path, std::string message) {
    add_problem(place_of(key_path), key_path, std::move(message));
}

std::vector<Problem> Draft::take_sorted_problems() {
    const auto position = [this](const Problem& problem) {
        const auto file = std::find(files_.begin(), files_.end(), problem.file);
        return std::tuple(file - files_.begin(), problem.line, problem.column);
    };
    std::stable_sort(problems_.begin(), problems_.end(),
                     [&](const Problem& a, const Problem& b) { return position(a) < position(b); });
    return std::move(problems_);
}

std::string below(const std::string& key_path, std::string_view key) {
    constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const bool is_plain = !key.empty() && key.size() <= 80 && key.find_first_not_of(kPlain) == key.npos;
    const std::string step = is_plain ? std::string(key) : quoted(key, 80);
    return key_path.empty() ? step : key_path + "." + step;
}

std::string Problem::text() const {
    std::string text = file;
    if (line > 0) text += fmt::format(":{}:{}", line, column);
    if (!key_path.empty()) text += ": " + key_path;
    return text + ": " + message;
}

}  // namespace tcpd::conf
