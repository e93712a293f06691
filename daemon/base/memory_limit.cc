#include "daemon/base/memory_limit.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <vector>

#include "daemon/base/text.h"

namespace tcpd {

namespace {

using Limit = std::optional<MemoryLimit>;

// Version 1 says "none" by the last page of a signed number.
constexpr uint64_t kNone = uint64_t{1} << 60;
constexpr size_t kMostLevels = 256;

struct Mount {
    std::string root, point;  // of the hierarchy, what is mounted; where
    bool is_version_2 = false;
};

// Up to `separator`, which is taken off as well.
std::string_view take(std::string_view& text, char separator) {
    const size_t end = std::min(text.find(separator), text.size());
    const std::string_view first = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return first;
}

bool has_word(std::string_view list, std::string_view word) {
    while (!list.empty()) {
        if (take(list, ',') == word) return true;
    }
    return false;
}

bool is_octal(std::string_view digits) {
    return digits.size() == 3 && digits.find_first_not_of("01234567") == std::string_view::npos;
}

// Space, tab, line feed and backslash stand there as three octal digits.
std::string unescaped(std::string_view text) {
    std::string plain;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && is_octal(text.substr(i + 1, 3))) {
            plain +=
                static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
            i += 3;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

// One line: "ID PARENT DEVICE ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS".
std::optional<Mount> mount_of(std::string_view line) {
    for (int skipped = 0; skipped < 3; ++skipped) take(line, ' ');
    Mount mount;
    mount.root = unescaped(take(line, ' '));
    mount.point = unescaped(take(line, ' '));
    const size_t dash = line.find(" - ");
    if (dash == line.npos) return std::nullopt;
    line.remove_prefix(dash + 3);
    const std::string_view type = take(line, ' ');
    take(line, ' ');
    mount.is_version_2 = type == "cgroup2";
    if (!mount.is_version_2 && (type != "cgroup" || !has_word(line, "memory"))) return std::nullopt;
    return mount;
}

// The group's path in the hierarchy of that version: a line "NUMBER:CONTROLLERS:PATH".
std::optional<std::string> path_of(std::string_view membership, bool is_version_2) {
    while (!membership.empty()) {
        std::string_view line = take(membership, '\n');
        const std::string_view number = take(line, ':');
        const std::string_view controllers = take(line, ':');
        if (is_version_2 ? number == "0" && controllers.empty() : has_word(controllers, "memory"))
            return std::string(line);
    }
    return std::nullopt;
}

bool leads_up(std::string_view path) {
    while (!path.empty()) {
        if (take(path, '/') == "..") return true;
    }
    return false;
}

// Below the mount point. Empty: the mount point itself, which is all that can be seen of the group where it lies
// outside of what is mounted, or the path is the host's.
std::string below(const Mount& mount, const std::string& path) {
    const std::string_view root = mount.root == "/" ? "" : std::string_view(mount.root);
    if (!path.starts_with(root) || (path.size() > root.size() && path[root.size()] != '/')) return "";
    std::string rest = path.substr(root.size());
    return rest == "/" || leads_up(rest) ? "" : rest;
}

Limit read_number(const std::string& folder, const char* name) {
    std::ifstream file(folder + "/" + name);
    std::string word;
    file >> word;
    const std::optional<uint64_t> bytes = parse_number(word);
    if (!bytes || *bytes >= kNone) return std::nullopt;
    return MemoryLimit{*bytes, folder};
}

// What version 1 reckons of all levels, of those above the mount point, too.
Limit read_hierarchical(const std::string& folder) {
    std::ifstream file(folder + "/memory.stat");
    for (std::string name, value; file >> name >> value;) {
        if (name != "hierarchical_memory_limit") continue;
        const std::optional<uint64_t> bytes = parse_number(value);
        if (!bytes || *bytes >= kNone) return std::nullopt;
        return MemoryLimit{*bytes, folder};
    }
    return std::nullopt;
}

Limit smaller(Limit a, Limit b) {
    if (!a || !b) return a ? a : b;
    return b->bytes < a->bytes ? b : a;
}

Limit limit_below(const Mount& mount, std::string rest, const std::string& root) {
    const std::string point = root + (mount.point == "/" ? "" : mount.point);
    const std::string own = point + rest;
    Limit found;
    for (size_t level = 0; level < kMostLevels; ++level) {
        const std::string folder = point + rest;
        found =
            smaller(found, read_number(folder, mount.is_version_2 ? "memory.max" : "memory.limit_in_bytes"));
        if (rest.empty()) break;
        rest.resize(std::min(rest.rfind('/'), rest.size()));
    }
    return mount.is_version_2 ? found : smaller(found, read_hierarchical(own));
}

std::string read_all(const char* path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

std::optional<MemoryLimit> memory_limit(std::string_view membership, std::string_view mounts,
                                        const std::string& root) {
    Limit found;
    while (!mounts.empty()) {
        const std::optional<Mount> mount = mount_of(take(mounts, '\n'));
        if (!mount) continue;
        const std::optional<std::string> path = path_of(membership, mount->is_version_2);
        if (path) found = smaller(found, limit_below(*mount, below(*mount, *path), root));
    }
    return found;
}

std::optional<MemoryLimit> own_memory_limit() {
    return memory_limit(read_all("/proc/self/cgroup"), read_all("/proc/self/mountinfo"));
}

uint64_t machine_memory() {
    struct sysinfo machine {};
    return ::sysinfo(&machine) == 0 ? uint64_t{machine.totalram} * machine.mem_unit : 0;
}

}  // namespace tcpd
