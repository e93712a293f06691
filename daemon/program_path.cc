#include "daemon/program_path.h"

#include <sys/stat.h>
#include <unistd.h>

namespace tcpd {

namespace {

bool is_program(const std::string& path) {
    struct stat status;
    return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && access(path.c_str(), X_OK) == 0;
}

std::string under(std::string_view folder, std::string_view name) {
    std::string path(folder);
    if (!path.ends_with('/')) path += '/';
    return path.append(name);
}

// As execvp does: an empty entry is the working directory, and entries may be relative.
std::string search_path(std::string_view name, const std::string& folder, std::string_view search) {
    while (true) {
        size_t colon = search.find(':');
        std::string_view entry = search.substr(0, colon);
        std::string place = entry.starts_with('/') ? std::string(entry) : under(folder, entry);
        std::string path = under(place, name);
        if (is_program(path)) return path;
        if (colon == std::string_view::npos) return {};
        search.remove_prefix(colon + 1);
    }
}

}  // namespace

std::string program_path(std::string_view argv0, const std::string& folder, std::string_view search) {
    if (argv0.empty()) return {};
    if (argv0.find('/') == std::string_view::npos) return search_path(argv0, folder, search);
    while (argv0.starts_with("./")) argv0.remove_prefix(2);
    std::string path = argv0.starts_with('/') ? std::string(argv0) : under(folder, argv0);
    return is_program(path) ? path : std::string();
}

}  // namespace tcpd
