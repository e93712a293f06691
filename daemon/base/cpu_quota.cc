#include "daemon/base/cpu_quota.h"

#include <algorithm>
#include <fstream>

#include "daemon/base/text.h"

namespace tcpd {

namespace {

using Quota = std::optional<unsigned>;

std::string first_word(std::istream& in) {
    std::string word;
    in >> word;
    return word;
}

Quota to_cpus(const std::string& quota, const std::string& period) {
    std::optional<uint64_t> used = parse_number(quota), of = parse_number(period);
    if (!used || !of || *used == 0 || *of == 0) return std::nullopt;
    return static_cast<unsigned>(std::min<uint64_t>((*used - 1) / *of + 1, 1U << 16));
}

// "200000 100000" or "max 100000".
Quota read_version_2(const std::string& folder) {
    std::ifstream file(folder + "/cpu.max");
    std::string quota = first_word(file);
    return to_cpus(quota, first_word(file));
}

Quota read_version_1(const std::string& folder) {
    std::ifstream quota(folder + "/cpu.cfs_quota_us"), period(folder + "/cpu.cfs_period_us");
    return to_cpus(first_word(quota), first_word(period));
}

Quota smaller(Quota a, Quota b) {
    if (!a || !b) return a ? a : b;
    return std::min(*a, *b);
}

// From the group itself up to the mount: each level may have a quota of its own. In a container the group's
// path may be the host's, which is not there; the mount itself is then the container's group.
Quota smallest(std::string path, const std::string& mount, Quota (*read)(const std::string&)) {
    Quota found;
    while (!path.empty() && path != "/") {
        found = smaller(found, read(mount + path));
        path.resize(path.rfind('/'));
    }
    return smaller(found, read(mount));
}

bool has_cpu(std::string_view controllers) {
    while (!controllers.empty()) {
        size_t comma = std::min(controllers.find(','), controllers.size());
        if (controllers.substr(0, comma) == "cpu") return true;
        controllers.remove_prefix(std::min(comma + 1, controllers.size()));
    }
    return false;
}

// One line of cgroups(7): "hierarchy:controllers:path".
Quota quota_of(std::string_view line, const std::string& root) {
    size_t first = line.find(':');
    size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos || line.substr(second + 1, 1) != "/") return std::nullopt;
    std::string controllers(line.substr(first + 1, second - first - 1));
    std::string path(line.substr(second + 1));
    if (line.substr(0, first) == "0" && controllers.empty()) return smallest(path, root, read_version_2);
    if (!has_cpu(controllers)) return std::nullopt;
    return smaller(smallest(path, root + "/" + controllers, read_version_1),
                   smallest(path, root + "/cpu", read_version_1));
}

}  // namespace

std::optional<unsigned> cpu_quota(std::string_view membership, const std::string& root) {
    Quota found;
    while (!membership.empty()) {
        size_t end = std::min(membership.find('\n'), membership.size());
        found = smaller(found, quota_of(membership.substr(0, end), root));
        membership.remove_prefix(std::min(end + 1, membership.size()));
    }
    return found;
}

}  // namespace tcpd
