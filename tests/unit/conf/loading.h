#pragma once

// Loads configurations from texts, as if they lay in /etc/tcpd.

#include <map>
#include <string>
#include <vector>

#include "conf/load.h"

namespace tcpd::conf::test {

inline const std::string kMain = "/etc/tcpd/tcpd.yaml";

// `files` by path below /etc/tcpd; tcpd.yaml is the main one. `patterns` likewise.
inline Snapshot snapshot_of(const std::map<std::string, std::string>& files,
                            const std::map<std::string, std::vector<std::string>>& patterns = {}) {
    Snapshot snapshot{.main_path = kMain};
    for (const auto& [name, text] : files) snapshot.files["/etc/tcpd/" + name] = text;
    for (const auto& [pattern, names] : patterns) {
        std::vector<std::string>& paths = snapshot.patterns["/etc/tcpd/" + pattern];
        for (const std::string& name : names) paths.push_back("/etc/tcpd/" + name);
    }
    return snapshot;
}

inline Loaded load_snapshot(Snapshot snapshot) {
    SnapshotSource source(std::move(snapshot));
    return load(source, kMain);
}

inline Loaded load_text(const std::string& text) { return load_snapshot(snapshot_of({{"tcpd.yaml", text}})); }

// The texts of all problems, "/etc/tcpd/" left out, one a line.
inline std::string problems_of(const Loaded& loaded) {
    std::string all;
    for (const Problem& problem : loaded.problems) all += problem.text() + "\n";
    for (size_t at; (at = all.find("/etc/tcpd/")) != std::string::npos;) all.erase(at, 10);
    return all;
}

inline std::string problems_in(const std::string& text) { return problems_of(load_text(text)); }

// What is wrong, without the places; "; " between.
inline std::string complaints_in(const std::string& text) {
    std::string all;
    for (const Problem& problem : load_text(text).problems)
        all += (all.empty() ? "" : "; ") + problem.key_path + ": " + problem.message;
    return all;
}

// In a text that is fine otherwise: a listener `a` with these lines in it (flow style), and this at the top.
inline std::string with_listener(const std::string& keys, const std::string& top = "") {
    return "listeners: {a: {" + keys + "}}\n" + top;
}
inline const std::string kFine = "listen: 127.0.0.1:7000, handler: echo";

}  // namespace tcpd::conf::test
