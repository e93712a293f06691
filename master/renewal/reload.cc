#include "master/renewal/reload.h"

#include <fmt/format.h>

#include "conf/load.h"
#include "conf/source.h"

namespace tcpd::master {

namespace {

Error refused(const std::string& path, std::string reason, std::string hint) {
    return Error{ErrorCode::bad_config, "put into force", path, 0, std::move(reason), std::move(hint)};
}

Error describe(const std::string& path, const std::vector<conf::Problem>& problems) {
    for (const conf::Problem& problem : problems) log::error("{}", problem.text());
    std::string reason = problems.front().text();
    if (problems.size() > 1) reason += fmt::format(", and {} more", problems.size() - 1);
    return refused(path, std::move(reason), "the log has all; try tcpd -t");
}

}  // namespace

std::string unchangeable(const conf::Config& in_force, const conf::Config& wanted) {
    if (in_force.user != wanted.user) return "user";
    if (in_force.pid_file != wanted.pid_file) return "pid_file";
    return "";
}

Result<NewConfig> read_new_config(const std::string& path, const conf::Config& in_force) {
    conf::FileSource source;
    conf::Loaded loaded = conf::load(source, path);
    if (!loaded.problems.empty()) return describe(path, loaded.problems);
    if (const std::string key = unchangeable(in_force, loaded.config); !key.empty()) {
        return refused(path, fmt::format("{} can't be changed while tcpd runs", key),
                       "restart tcpd, or put the old value back");
    }
    auto bundle = conf::make_bundle(source.snapshot());
    if (!bundle) return std::move(bundle.error());
    return NewConfig{std::move(loaded.config), std::move(*bundle), std::move(loaded.warnings)};
}

}  // namespace tcpd::master
