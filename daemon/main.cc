// The composition root: which process is this, and what was asked of it?

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "daemon/ask_master.h"
#include "daemon/base/process.h"
#include "daemon/check_config.h"
#include "daemon/command_line.h"
#include "daemon/help.h"

namespace tcpd {

namespace {

// As the shell names it, with symbolic links.
std::string working_folder() {
    std::unique_ptr<char, decltype(&free)> name(get_current_dir_name(), &free);
    return name ? name.get() : "/";
}

int print(const std::string& text) {
    return fputs(text.c_str(), stdout) >= 0 && fflush(stdout) == 0 ? kExitFine : kExitSystem;
}

int do_task(const Command& command) {
    switch (command.task) {
        case Task::show_help: return print(help_text());
        case Task::show_version: return print(version_text());
        case Task::check_config: return check_config(command);
        case Task::dump_config: return dump_config(command);
        case Task::ask_master: return make_request(command);
        case Task::serve: break;
    }
    return kExitUsage;
}

int run(int argc, char** argv) {
    std::vector<std::string> words(argv + (argc > 0), argv + argc);
    auto command = parse_command_line(words, working_folder());
    if (command) return do_task(*command);
    fprintf(stderr, "tcpd: %s\n", command.error().text().c_str());
    return kExitUsage;
}

}  // namespace

}  // namespace tcpd

int main(int argc, char** argv) {
    tcpd::keep_argv(argc, argv);
    return tcpd::run(argc, argv);
}
