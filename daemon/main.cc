// The composition root: which process is this, and what was asked of it? An image of a slot is told by its
// first argument, which only the master gives, and so is a master after an exec in place; everything else
// comes from a person or a service manager.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/ask_master.h"
#include "daemon/base/process.h"
#include "daemon/check_config.h"
#include "daemon/command_line.h"
#include "daemon/decode.h"
#include "daemon/help.h"
#include "daemon/program_path.h"
#include "daemon/slot/control_message.h"
#include "master/master.h"
#include "master/reexec/reexec.h"
#include "worker/image.h"

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

int serve(const Command& command, std::string_view argv0) {
    auto checked = read_config(command);
    if (!checked) return kExitConfig;
    const char* search = getenv("PATH");
    return master::run({.config = std::move(checked->config),
                        .snapshot = std::move(checked->snapshot),
                        .config_path = command.config_path,
                        .notify_fd = command.notify_fd,
                        .program_path = program_path(argv0, working_folder(), search ? search : ""),
                        .log_level = command.log_level,
                        .warnings = std::move(checked->warnings)});
}

int do_task(const Command& command, std::string_view argv0) {
    switch (command.task) {
        case Task::show_help: return print(help_text());
        case Task::show_version: return print(version_text());
        case Task::check_config: return check_config(command);
        case Task::dump_config: return dump_config(command);
        case Task::ask_master: return make_request(command);
        case Task::decode: return decode(command);
        case Task::serve: break;
    }
    return serve(command, argv0);
}

int run(int argc, char** argv) {
    std::vector<std::string> words(argv + (argc > 0), argv + argc);
    auto command = parse_command_line(words, working_folder());
    if (command) return do_task(*command, argc > 0 ? argv[0] : "");
    fprintf(stderr, "tcpd: %s\n", command.error().text().c_str());
    return kExitUsage;
}

}  // namespace

}  // namespace tcpd

int main(int argc, char** argv) {
    tcpd::keep_argv(argc, argv);
    if (argc == 2 && argv[1] == std::string_view(tcpd::slot::kImageFlag)) tcpd::worker::run_image();
    if (argc == 3 && argv[1] == std::string_view(tcpd::master::kResumeFlag)) {
        return tcpd::master::resume(atoi(argv[2]), false);
    }
    if (argc == 3 && argv[1] == std::string_view(tcpd::master::kProbeFlag)) {
        return tcpd::master::resume(atoi(argv[2]), true);
    }
    return tcpd::run(argc, argv);
}
