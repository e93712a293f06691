#include "daemon/command_line.h"

#include <getopt.h>

#include <climits>
#include <cstring>

#include "daemon/base/control_request.h"
#include "daemon/base/text.h"

namespace tcpd {

namespace {

// Long options without a letter of their own.
enum LongOnly {
    notify_fd_option = 256,
    log_level_option,
    decode_option,
    timeout_option,
    raw_option,
    hex_option
};

constexpr option kLongOptions[] = {
    {"notify-fd", required_argument, nullptr, notify_fd_option},
    {"log-level", required_argument, nullptr, log_level_option},
    {"decode", required_argument, nullptr, decode_option},
    {"raw", no_argument, nullptr, raw_option},
    {"hex", no_argument, nullptr, hex_option},
    {"timeout", required_argument, nullptr, timeout_option},
    {"version", no_argument, nullptr, 'V'},
    {"help", no_argument, nullptr, 'h'},
    {nullptr, 0, nullptr, 0},
};
// The colon in front makes a missing argument tell itself from an unknown option.
constexpr const char* kShortOptions = ":c:tTs:Vh";

Error usage(std::string reason, std::string hint = "tcpd -h lists what there is") {
    return {.code = ErrorCode::bad_usage, .reason = std::move(reason), .hint = std::move(hint)};
}

Error unknown_option(const std::string& word) {
    std::vector<std::string_view> known;
    for (const option* o = kLongOptions; o->name; ++o) known.push_back(o->name);
    std::string name = word.substr(0, word.find('='));
    if (!name.starts_with("--")) return usage("there is no option " + quoted(name));
    if (auto near = nearest(std::string_view(name).substr(2), known))
        return usage("there is no option " + quoted(name), "did you mean --" + std::string(*near) + "?");
    return usage("there is no option " + quoted(name));
}

std::string absolute(std::string path, const std::string& folder) {
    if (path.starts_with("/")) return path;
    while (path.starts_with("./")) path.erase(0, 2);
    return (folder.ends_with("/") ? folder : folder + "/") + path;
}

// One run over the words. getopt keeps its place in globals: optind = 0 starts it anew.
class Parser {
public:
    Parser(const std::vector<std::string>& words, const std::string& folder)
        : words_(words), folder_(folder) {
        words_.insert(words_.begin(), "tcpd");
        for (std::string& word : words_) argv_.push_back(word.data());
        argv_.push_back(nullptr);
    }

    Result<Command> parse() {
        optind = 0;
        opterr = 0;
        for (int letter; (letter = next()) != -1;) {
            if (auto taken = take(letter); !taken) return std::move(taken.error());
        }
        if (optind < argc()) return stray_word();
        const bool answers = command_.task == Task::show_help || command_.task == Task::show_version;
        if (command_.timeout && command_.verb.empty() && !answers)
            return usage("--timeout is for -s alone", "tcpd -s VERB --timeout 30s");
        if (command_.input_form != InputForm::guess && command_.framing.empty() && !answers)
            return usage("--raw and --hex are for --decode alone", "tcpd --decode FRAMING --hex");
        return std::move(command_);
    }

private:
    int argc() const { return static_cast<int>(words_.size()); }

    int next() { return getopt_long(argc(), argv_.data(), kShortOptions, kLongOptions, nullptr); }

    Result<void> take(int letter) {
        switch (letter) {
            case 'c': return take_config();
            case 't': return set_task(Task::check_config);
            case 'T': return set_task(Task::dump_config);
            case 's': return take_verb();
            case 'V': return set_task(Task::show_version);
            case 'h': return set_task(Task::show_help);
            case notify_fd_option: return take_notify_fd();
            case log_level_option: return take_log_level();
            case decode_option: return take_framing();
            case raw_option: return take_input_form(InputForm::raw);
            case hex_option: return take_input_form(InputForm::hex);
            case timeout_option: return take_timeout();
            case ':': return usage(quoted(option_as_typed()) + " needs a value");
            default: return not_understood();
        }
    }

    // What getopt refused: an unknown letter (optopt), an unknown long word (optopt 0), or a known long one
    // whose value is too much.
    Result<void> not_understood() {
        bool known = optopt > CHAR_MAX || (optopt > 0 && std::strchr(kShortOptions, optopt));
        if (known) return usage(quoted(word_before()) + " takes no value");
        return unknown_option(option_as_typed());
    }

    std::string word_before() const { return argv_[optind - 1]; }
    std::string option_as_typed() const {
        if (optopt == 0 || optopt > CHAR_MAX) return word_before();
        return std::string("-") + static_cast<char>(optopt);
    }

    // -h and -V are answered whatever else is there; of the others there is one.
    Result<void> set_task(Task task) {
        Task& mine = command_.task;
        if (mine == Task::show_help || (mine == Task::show_version && task != Task::show_help)) return {};
        bool answers = task == Task::show_help || task == Task::show_version;
        if (mine != Task::serve && mine != task && !answers)
            return usage("-t, -T, -s and --decode exclude one another", "one at a time");
        mine = task;
        return {};
    }

    Result<void> take_config() {
        if (command_.config_was_named)
            return usage("-c is there twice", "a file can name others by include:");
        if (!*optarg) return usage("-c has an empty file name");
        command_.config_was_named = true;
        command_.config_path = absolute(optarg, folder_);
        return {};
    }

    Result<void> take_verb() {
        const auto& verbs = request_verbs();
        if (!command_.verb.empty()) return usage("-s is there twice", "one request at a time");
        for (std::string_view verb : verbs) {
            if (verb != optarg) continue;
            command_.verb = verb;
            return set_task(Task::ask_master);
        }
        auto near = nearest(optarg, verbs);
        std::string hint = "there are: " + joined(verbs, ", ");
        if (near) hint = "did you mean " + std::string(*near) + "? " + hint;
        return usage("-s does not know " + quoted(optarg), hint);
    }

    Result<void> take_framing() {
        if (!command_.framing.empty()) return usage("--decode is there twice", "one framing at a time");
        if (!*optarg) return usage("--decode has an empty name", "raw, line, tcpd, or a name under framings");
        command_.framing = optarg;
        return set_task(Task::decode);
    }

    Result<void> take_input_form(InputForm form) {
        if (command_.input_form != InputForm::guess && command_.input_form != form)
            return usage("--raw and --hex exclude one another", "without both, it is found out");
        command_.input_form = form;
        return {};
    }

    Result<void> take_notify_fd() {
        auto number = parse_number(optarg);
        if (!number || *number < 3 || *number > INT_MAX)
            return usage("--notify-fd: " + quoted(optarg) + " is not a descriptor", "a number from 3 on");
        command_.notify_fd = static_cast<int>(*number);
        return {};
    }

    Result<void> take_log_level() {
        bool known = false;
        log::Level level = log::level_from(optarg, &known);
        if (!known)
            return usage("--log-level: " + quoted(optarg) + " is not a level",
                         joined(log::kLevelNames, ", "));
        command_.log_level = level;
        return {};
    }

    Result<void> take_timeout() {
        command_.timeout = parse_duration(optarg);
        if (!command_.timeout)
            return usage("--timeout: " + quoted(optarg) + " is not a duration",
                         "try 30s, 500ms, 2m; 0: no limit");
        return {};
    }

    Error stray_word() const {
        std::string word = argv_[optind];
        std::string hint = "a configuration is named with -c FILE";
        for (std::string_view verb : request_verbs())
            if (word == verb) hint = "a request is made with -s " + word;
        return usage("nothing is expected of " + quoted(word), hint);
    }

    std::vector<std::string> words_;
    const std::string& folder_;
    std::vector<char*> argv_;
    Command command_;
};

}  // namespace

const std::vector<std::string_view>& request_verbs() {
    static const std::vector<std::string_view> verbs = {control::kReloadVerb, control::kUpgradeVerb,
                                                        control::kReopenVerb, control::kDrainVerb,
                                                        control::kStopVerb,   control::kStatusVerb};
    return verbs;
}

Result<Command> parse_command_line(const std::vector<std::string>& words, const std::string& folder) {
    return Parser(words, folder).parse();
}

}  // namespace tcpd
