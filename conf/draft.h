#pragma once

// A configuration while it is read: what is known so far, where each key stands, and what is wrong with it.
// Every process, within `load` only.

#include <map>
#include <string>
#include <vector>

#include "conf/load.h"
#include "conf/yaml_tree.h"

namespace tcpd::conf {

struct Place {
    std::string file;
    Mark mark;
};

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

struct ProxyUse {
    size_t listener;
    std::string upstream;
    std::string key_path;
    Place place;
};

class Draft {
public:
    static constexpr size_t kMaxProblems = 1000;
    static constexpr size_t kMaxVisits = 200'000;

    Config config;
    std::vector<Inclusion> inclusions;
    std::vector<Bound> bound;       // what the listeners listen on, in order
    std::vector<ProxyUse> proxies;  // resolved once all upstreams are known
    std::vector<std::string> warnings;

    // Where a key stands first; true if it stood nowhere before.
    bool set_place(const std::string& key_path, const Place& place);
    // Of the key, or of the nearest one above it that is written down; the main file if there is none.
    Place place_of(std::string key_path) const;
    bool is_written(const std::string& key_path) const { return places_.contains(key_path); }

    bool has_problem_below(std::string_view key) const;
    void add_problem(const Place& place, std::string key_path, std::string message);
    void add_problem(const std::string& key_path, std::string message);
    // By file, in the order in which they were begun, line and column.
    std::vector<Problem> take_sorted_problems();

    void begin_file(const std::string& path) { files_.push_back(path); }
    const std::vector<std::string>& files() const { return files_; }
    // False once more was looked at than any honest configuration holds: aliases multiply what a file says.
    bool may_visit(const Place& place);

private:
    std::map<std::string, Place> places_;
    std::vector<Problem> problems_;
    std::vector<std::string> files_;
    size_t visits_ = 0;
};

// "listeners.gateway"; a key with a dot or anything odd in it stands in quotes.
std::string below(const std::string& key_path, std::string_view key);

}  // namespace tcpd::conf
