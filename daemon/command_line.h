#pragma once

// What the words after `tcpd` ask for. Pure: no file is opened and nothing is printed here, so a test can try
// any line. Runs once, at the start of the process that a person or a service manager started; an image has
// no command line. Source: getopt_long(3), tcpd(8).

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"

namespace tcpd {

inline constexpr const char* kDefaultConfig = "/etc/tcpd/tcpd.yaml";

enum class Task {
    serve,         // be the master
    check_config,  // -t
    dump_config,   // -T
    ask_master,    // -s VERB
    decode,        // --decode FRAMING
    show_version,  // -V
    show_help,     // -h
};

// What standard input of --decode is.
enum class InputForm {
    guess,
    raw,  // --raw: the bytes themselves
    hex,  // --hex: a hex dump
};

struct Command {
    Task task = Task::serve;
    // Absolute; symbolic links and ".." are kept as they were typed.
    std::string config_path = kDefaultConfig;
    bool config_was_named = false;    // by -c
    std::string verb;                 // of -s
    std::optional<Duration> timeout;  // of -s; 0: none
    std::string framing;              // of --decode
    InputForm input_form = InputForm::guess;
    int notify_fd = -1;                   // -1: none
    std::optional<log::Level> log_level;  // over the one in the configuration
};

// `words`: argv without argv[0]; `folder`: where relative paths start, absolute. Errors are bad_usage.
Result<Command> parse_command_line(const std::vector<std::string>& words, const std::string& folder);

// The words that -s takes, in the order of the help text.
const std::vector<std::string_view>& request_verbs();

}  // namespace tcpd
