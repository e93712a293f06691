#pragma once

// A configuration while it is read: what is known so far, where each key stands, and what is wrong with it.
// Every process, within `load` only. Owns memory only: a death in here leaves nothing behind.

#include <map>
#include <string>
#include <vector>

#include "conf/load.h"
#include "conf/yaml/yaml_tree.h"

namespace tcpd::conf {

struct Place {
    std::string file;
    Mark mark;
};

// An address that a listener is to be bound to.
struct Bound {
    Address address;
    size_t listener;
    std::string key_path;
    Place place;
};

// A file or pattern of `include`.
struct Inclusion {
    std::string pattern;  // absolute
    std::string key_path;
    Place place;
    bool is_plain() const { return pattern.find_first_of("*?[") == std::string::npos; }
};

// A listener that names an upstream or a framing.
struct NameUse {
    size_t listener;
    std::string name;
    std::string key_path;
    Place place;
};

class Draft {
public:
    static constexpr size_t kMaxProblems = 1000;

    Config config;
    Purpose purpose = Purpose::serve;
    std::vector<Inclusion> inclusions;
    std::vector<Bound> bound;                // in order
    std::vector<NameUse> proxies, framings;  // resolved once all files are read
    std::vector<std::string> warnings;

    // Where a key stands; the first place counts.
    void set_place(const std::string& key_path, const Place& place);
    // Of the key, or of the nearest one above it that is written down; the main file if there is none.
    Place place_of(std::string key_path) const;
    bool is_written(const std::string& key_path) const { return places_.contains(key_path); }

    // No more is kept: reading on makes no sense. It also bounds the work that aliases can multiply, since
    // all that may stand in a file without a problem is counted by the grammar.
    bool is_full() const { return problems_.size() > kMaxProblems; }
    size_t problem_count() const { return problems_.size(); }
    bool has_problem_below(std::string_view key) const;
    void add_problem(const Place& place, std::string key_path, std::string message);
    void add_problem(const std::string& key_path, std::string message);
    // By file, in the order in which they were begun, line and column.
    std::vector<Problem> take_sorted_problems();

    void begin_file(const std::string& path) { files_.push_back(path); }
    const std::vector<std::string>& files() const { return files_; }

private:
    std::map<std::string, Place> places_;
    std::vector<Problem> problems_;
    std::vector<std::string> files_;
};

// "listeners.gateway"; a key with a dot or anything odd in it stands in quotes.
std::string below(const std::string& key_path, std::string_view key);

}  // namespace tcpd::conf
