#include "daemon/command_line.h"

#include <boost/test/unit_test.hpp>

using namespace tcpd;

namespace {

Result<Command> parse(const std::vector<std::string>& words) {
    return parse_command_line(words, "/home/ada");
}

std::string error_of(const std::vector<std::string>& words) {
    auto command = parse(words);
    if (command) return "no error";
    BOOST_TEST(static_cast<int>(command.error().code) == static_cast<int>(ErrorCode::bad_usage));
    return command.error().text();
}

bool task_is(const std::vector<std::string>& words, Task task) {
    auto command = parse(words);
    return command && command->task == task;
}

bool mentions(const std::string& text, std::string_view part) {
    BOOST_TEST_INFO_SCOPE(text);
    return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(command_line)

BOOST_AUTO_TEST_CASE(nothing_said_is_to_serve_the_usual_file) {
    auto command = parse({});
    BOOST_REQUIRE(command);
    BOOST_TEST((command->task == Task::serve));
    BOOST_TEST(command->config_path == "/etc/tcpd/tcpd.yaml");
    BOOST_TEST(!command->config_was_named);
    BOOST_TEST(command->notify_fd == -1);
    BOOST_TEST(!command->log_level);
}

BOOST_AUTO_TEST_CASE(tasks) {
    BOOST_TEST(task_is({"-t"}, Task::check_config));
    BOOST_TEST(task_is({"-T"}, Task::dump_config));
    BOOST_TEST(task_is({"-V"}, Task::show_version));
    BOOST_TEST(task_is({"--version"}, Task::show_version));
    BOOST_TEST(task_is({"-h"}, Task::show_help));
    BOOST_TEST(task_is({"--help"}, Task::show_help));
    BOOST_TEST(task_is({"-s", "status"}, Task::ask_master));
    BOOST_TEST(task_is({"-tc", "x.yaml"}, Task::check_config));
}

BOOST_AUTO_TEST_CASE(help_wins_over_version_and_version_over_the_rest) {
    BOOST_TEST(task_is({"-t", "-V"}, Task::show_version));
    BOOST_TEST(task_is({"-V", "-t"}, Task::show_version));
    BOOST_TEST(task_is({"-V", "-h"}, Task::show_help));
    BOOST_TEST(task_is({"-h", "-V"}, Task::show_help));
    BOOST_TEST(task_is({"-h", "-s", "stop"}, Task::show_help));
}

BOOST_AUTO_TEST_CASE(the_file_becomes_absolute_and_stays_as_typed) {
    BOOST_TEST(parse({"-c", "echo.yaml"})->config_path == "/home/ada/echo.yaml");
    BOOST_TEST(parse({"-c", "././conf/echo.yaml"})->config_path == "/home/ada/conf/echo.yaml");
    BOOST_TEST(parse({"-c", "../link/echo.yaml"})->config_path == "/home/ada/../link/echo.yaml");
    BOOST_TEST(parse({"-c", "/srv/../echo.yaml"})->config_path == "/srv/../echo.yaml");
    BOOST_TEST(parse({"-cecho.yaml"})->config_was_named);
    BOOST_TEST(parse_command_line({"-c", "echo.yaml"}, "/")->config_path == "/echo.yaml");
}

BOOST_AUTO_TEST_CASE(requests) {
    BOOST_TEST(parse({"-s", "stop"})->verb == "stop");
    BOOST_TEST(parse({"-s", "status", "-c", "x"})->verb == "status");
    BOOST_TEST(mentions(error_of({"-s", "stauts"}), "did you mean status?"));
    BOOST_TEST(
        mentions(error_of({"-s", "zzzzzzz"}), "there are: reload, upgrade, reopen, drain, stop, status"));
    BOOST_TEST(mentions(error_of({"-s", "stop", "-s", "status"}), "-s is there twice"));
}

BOOST_AUTO_TEST_CASE(descriptor_and_level) {
    BOOST_TEST(parse({"--notify-fd", "3"})->notify_fd == 3);
    BOOST_TEST(parse({"--notify-fd=12"})->notify_fd == 12);
    for (const char* bad : {"2", "-1", "3x", "", "4294967299"})
        BOOST_TEST(mentions(error_of({"--notify-fd", bad}), "not a descriptor"));
    BOOST_TEST((parse({"--log-level", "debug"})->log_level == log::Level::debug));
    BOOST_TEST(mentions(error_of({"--log-level", "loud"}), "\"loud\" is not a level"));
}

BOOST_AUTO_TEST_CASE(one_task_at_a_time) {
    BOOST_TEST(mentions(error_of({"-t", "-T"}), "exclude one another"));
    BOOST_TEST(mentions(error_of({"-t", "--decode", "line"}), "exclude one another"));
    BOOST_TEST(mentions(error_of({"--decode"}), "needs a value"));
    BOOST_TEST(mentions(error_of({"--decode", ""}), "has an empty name"));
    BOOST_TEST(mentions(error_of({"-t", "-s", "stop"}), "exclude one another"));
    BOOST_TEST(mentions(error_of({"-s", "stop", "-T"}), "exclude one another"));
    BOOST_TEST(task_is({"-t", "-t"}, Task::check_config));
}

BOOST_AUTO_TEST_CASE(options_that_do_not_exist) {
    BOOST_TEST(mentions(error_of({"-x"}), "no option \"-x\""));
    BOOST_TEST(mentions(error_of({"-tx"}), "no option \"-x\""));
    BOOST_TEST(mentions(error_of({"--daemon", "x"}), "no option \"--daemon\""));
    BOOST_TEST(mentions(error_of({"--verison"}), "did you mean --version?"));
    BOOST_TEST(mentions(error_of({"--image"}), "no option \"--image\""));
}

BOOST_AUTO_TEST_CASE(values_missing_or_too_many) {
    BOOST_TEST(mentions(error_of({"-c"}), "\"-c\" needs a value"));
    BOOST_TEST(mentions(error_of({"-tc"}), "\"-c\" needs a value"));
    BOOST_TEST(mentions(error_of({"--notify-fd"}), "\"--notify-fd\" needs a value"));
    BOOST_TEST(mentions(error_of({"--version=3"}), "\"--version=3\" takes no value"));
    BOOST_TEST(mentions(error_of({"-c", ""}), "empty file name"));
    BOOST_TEST(mentions(error_of({"-c", "a", "-c", "b"}), "-c is there twice"));
}

BOOST_AUTO_TEST_CASE(stray_words) {
    BOOST_TEST(mentions(error_of({"echo.yaml"}), "named with -c FILE"));
    BOOST_TEST(mentions(error_of({"stop"}), "made with -s stop"));
    BOOST_TEST(mentions(error_of({"-t", "echo.yaml", "-c", "x"}), "\"echo.yaml\""));
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_text_come_back_escaped) {
    std::string text = error_of({"\xc3\xa9\n"});
    BOOST_TEST(text.find('\n') == std::string::npos);
    BOOST_TEST(mentions(error_of({"-\xff"}), "no option"));
}

BOOST_AUTO_TEST_CASE(a_time_limit_belongs_to_a_request) {
    const auto command = parse_command_line({"-s", "stop", "--timeout", "90s"}, "/");
    BOOST_REQUIRE(command);
    BOOST_TEST(command->timeout->count() == 90'000);
    BOOST_TEST(parse_command_line({"--timeout", "0", "-s", "stop"}, "/")->timeout->count() == 0);
    BOOST_TEST(mentions(error_of({"--timeout", "5s"}), "for -s alone"));
    BOOST_TEST(mentions(error_of({"-s", "stop", "--timeout", "soon"}), "not a duration"));
    BOOST_TEST(mentions(error_of({"-s", "stop", "--timeout"}), "needs a value"));
}

BOOST_AUTO_TEST_SUITE_END()
