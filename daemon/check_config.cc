#include "daemon/check_config.h"

#include <unistd.h>

#include <cstdio>
#include <string>

namespace tcpd {

namespace {

// Nobody named a file and the usual one is not there: the first thing that a newcomer sees.
void print_how_to_go_on() {
    fprintf(stderr,
            "tcpd: there is no configuration: %s does not exist\n"
            "  either name one:   tcpd -c FILE\n"
            "  or put one there:  %s\n"
            "Examples to start from: /usr/share/doc/tcpd-server/examples, or conf/examples\n"
            "in the source (echo.yaml is the smallest).\n",
            kDefaultConfig, kDefaultConfig);
}

void print_warnings(const std::vector<std::string>& warnings) {
    for (const std::string& warning : warnings) fprintf(stderr, "%s\n", warning.c_str());
}

conf::Purpose purpose_of(Task task) {
    switch (task) {
        case Task::serve: return conf::Purpose::serve;
        case Task::decode: return conf::Purpose::cut_frames;
        default: return conf::Purpose::check;
    }
}

const char* plural(size_t count) { return count == 1 ? "" : "s"; }

}  // namespace

std::optional<CheckedConfig> read_config(const Command& command) {
    if (!command.config_was_named && access(kDefaultConfig, F_OK) != 0) {
        print_how_to_go_on();
        return {};
    }
    conf::FileSource source;
    conf::Loaded loaded = conf::load(source, command.config_path, purpose_of(command.task));
    if (!loaded.problems.empty()) print_warnings(loaded.warnings);
    for (const conf::Problem& problem : loaded.problems) fprintf(stderr, "%s\n", problem.text().c_str());
    if (size_t count = loaded.problems.size(); count > 1)
        fprintf(stderr, "%s: %zu problems\n", command.config_path.c_str(), count);
    if (!loaded.problems.empty()) return {};
    return CheckedConfig{std::move(loaded.config), source.snapshot(), std::move(loaded.warnings)};
}

int check_config(const Command& command) {
    auto checked = read_config(command);
    if (!checked) return kExitConfig;
    print_warnings(checked->warnings);
    size_t listeners = checked->config.listeners.size();
    fprintf(stderr, "%s: ok (%zu listener%s)\n", command.config_path.c_str(), listeners, plural(listeners));
    return kExitFine;
}

int dump_config(const Command& command) {
    auto checked = read_config(command);
    if (!checked) return kExitConfig;
    print_warnings(checked->warnings);
    std::string text = conf::dump(checked->config);
    bool written = fwrite(text.data(), 1, text.size(), stdout) == text.size() && fflush(stdout) == 0;
    return written ? kExitFine : kExitSystem;
}

}  // namespace tcpd
