// What is asked of this machine, and only when the source is the real files; the shipped examples.

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "conf/load.h"
#include "daemon/base/process.h"
#include "tests/unit/conf/loading.h"
#include "tests/unit/folder.h"
#include "tests/unit/in_child.h"
#include "tests/unit/lose_family.h"
#include "tests/unit/own_network.h"

using namespace tcpd;
using namespace tcpd::conf;
using namespace tcpd::conf::test;
using tcpd::test::Folder;

namespace {

// The problems of a main.yaml in `folder`, the folder's path replaced by F.
std::string problems_at(const Folder& folder, const std::string& text,
                        std::vector<std::string>* warnings = nullptr) {
    folder.write("main.yaml", text);
    FileSource source;
    const Loaded loaded = load(source, folder / "main.yaml");
    if (warnings) {
        *warnings = loaded.warnings;
        std::erase_if(*warnings, [](const std::string& one) { return one.find("somaxconn") != one.npos; });
    }
    std::string all = problems_of(loaded);
    for (size_t at; (at = all.find(folder.path())) != std::string::npos;)
        all.replace(at, folder.path().size(), "F");
    return all;
}

// Runs `body` as a user who is not root.
template <typename Body>
bool holds_as_nobody(Body&& body) {
    return tcpd::test::holds_in_child([&] {
        if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return false;
        return body();
    });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_machine)

BOOST_AUTO_TEST_CASE(users_and_groups_that_are_not_there) {
    const Folder folder;
    BOOST_TEST(
        problems_at(folder,
                    "user: no-such-user\nlisteners: {a: {listen: unix:s, handler: echo, unix: {owner: "
                    "no-such-owner, group: no-such-group}}}\n") ==
        R"(F/main.yaml:1:1: user: there is no user "no-such-user" on this machine (create it, or leave this out)
F/main.yaml:2:55: listeners.a.unix.owner: there is no user "no-such-owner" on this machine (create it, or leave this out)
F/main.yaml:2:77: listeners.a.unix.group: there is no group "no-such-group" on this machine (create it, or leave this out)
)");
    BOOST_TEST(problems_in("user: no-such-user\n" + with_listener(kFine)) ==
               "");  // from a bundle nobody asks
}

BOOST_AUTO_TEST_CASE(folders_that_are_not_there) {
    const Folder folder;
    folder.write("file", "");
    BOOST_TEST(problems_at(folder, R"(pid_file: none/tcpd.pid
log: {output: file/log}
listeners: {a: {listen: [unix:none/s, unix:s], handler: echo}}
)") == R"(F/main.yaml:1:1: pid_file: the folder "F/none" is not there (create it)
F/main.yaml:2:7: log.output: "F/file" is not a folder
F/main.yaml:3:26: listeners.a.listen[0]: the folder "F/none" is not there (create it)
)");
    BOOST_TEST(problems_at(folder, "pid_file: .\nlog: {output: file}\n" + with_listener(kFine)) ==
               "F/main.yaml:1:1: pid_file: \"F/\" is a folder (a file's path is needed)\n");
}

Loaded loaded_at(const Folder& folder, const std::string& text) {
    folder.write("main.yaml", text);
    FileSource source;
    return load(source, folder / "main.yaml");
}

BOOST_AUTO_TEST_CASE(a_family_that_is_not_there_is_warned_of) {
    const Folder folder;
    const auto is_warned = [&](const std::string& listen, const std::string& end) {
        return tcpd::test::holds_in_child([&] {
            if (!tcpd::test::lose_family(AF_INET6)) return false;
            const Loaded loaded =
                loaded_at(folder, "listeners: {a: {listen: " + listen + ", handler: echo}}\n");
            return loaded.problems.empty() &&
                   std::any_of(loaded.warnings.begin(), loaded.warnings.end(),
                               [&](const std::string& one) { return one.ends_with(end); });
        });
    };
    BOOST_TEST(
        is_warned("['*:7000', '*:7001']",
                  "main.yaml:1:26: warning: listeners.a.listen[0]: [::]:7000 of *:7000 is left out: this "
                  "machine has no IPv6; and 1 more such"));
    BOOST_TEST(is_warned("'[::]:7000'",
                         "main.yaml:1:25: warning: listeners.a.listen: [::]:7000 can't be listened on, tcpd "
                         "will not start: this machine has no IPv6 (take it out; *:7000 is what there is)"));
}

BOOST_AUTO_TEST_CASE(a_backlog_that_the_kernel_cuts_is_warned_of_with_both_numbers,
                     *boost::unit_test::precondition(tcpd::test::may_have_own_network)) {
    const Folder folder;
    BOOST_TEST(tcpd::test::holds_in_child([&] {
        if (!tcpd::test::enter_own_network(100)) return false;
        const auto warned = [&](const std::string& listeners) {
            std::string all;
            for (const std::string& one : loaded_at(folder, "listeners:\n" + listeners).warnings)
                if (one.find("somaxconn") != std::string::npos) all += one;
            return all;
        };
        return warned("  a: {listen: 127.0.0.1:1, backlog: 200, handler: echo}\n") ==
                   folder /
                       "main.yaml:2:28: warning: listeners.a.backlog: 200 is more than net.core.somaxconn, "
                       "so the kernel takes 100 (sysctl net.core.somaxconn=200)" &&
               warned(
                   "  a: {listen: unix:s, backlog: 101, handler: echo}\n"
                   "  b: {listen: 127.0.0.1:1, handler: echo}\n")
                   .ends_with("; and 1 more such") &&
               warned(
                   "  a: {listen: 127.0.0.1:1, backlog: 100, handler: echo}\n"
                   "  b: {listen: systemd:b, handler: echo}\n")
                   .empty();
    }));
}

BOOST_AUTO_TEST_CASE(root_without_a_user_is_warned_once) {
    const Folder folder;
    std::vector<std::string> warnings;
    BOOST_TEST(problems_at(folder, with_listener(kFine), &warnings) == "");
    if (::geteuid() != 0) {
        BOOST_TEST(warnings.empty());
        return;
    }
    BOOST_REQUIRE(warnings.size() == 1U);
    BOOST_TEST(warnings[0] ==
               folder /
                   "main.yaml: warning: running as root without a user: the workers keep root's "
                   "rights (set user: NAME)");
    problems_at(folder, "user: nobody\n" + with_listener(kFine), &warnings);
    BOOST_TEST(warnings.empty());
    folder.write("main.yaml", with_listener(kFine));
    FileSource source;
    BOOST_TEST(load(source, folder / "main.yaml", Purpose::check).warnings.empty());
}

// What a service manager makes at the start is not there while the service is stopped.
BOOST_AUTO_TEST_CASE(a_look_at_the_file_only_warns_of_folders_that_are_missing) {
    const Folder folder;
    folder.write("main.yaml",
                 "pid_file: later/tcpd.pid\nlisteners: {a: {listen: unix:later/s, handler: echo}}\n");
    FileSource source;
    const Loaded looked = load(source, folder / "main.yaml", Purpose::check);
    BOOST_TEST(looked.problems.empty());
    BOOST_REQUIRE(looked.warnings.size() == 2U);
    BOOST_TEST(looked.warnings[0] == folder / "main.yaml:1:1: warning: pid_file: the folder \"" +
                                         (folder / "later") + "\" is not there (create it)");
    BOOST_TEST(load(source, folder / "main.yaml").problems.size() == 2U);
}

// The start would refuse them; while it runs they are what it made.
BOOST_AUTO_TEST_CASE(what_lies_where_files_are_to_be_is_judged_as_by_the_start) {
    const Folder folder;
    folder.write("precious", "1\n");
    std::filesystem::create_hard_link(folder / "precious", folder / "pid");
    BOOST_REQUIRE(::mkfifo((folder / "pid.ctl").c_str(), 0600) == 0);
    BOOST_REQUIRE(::mkfifo((folder / "log").c_str(), 0600) == 0);
    std::filesystem::create_symlink(folder / "precious", folder / "s");
    folder.write("main.yaml",
                 "pid_file: pid\nlog: {output: log}\nlisteners: {a: {listen: unix:s, handler: echo}}\n");
    FileSource source;
    const std::string found = problems_of(load(source, folder / "main.yaml", Purpose::check));
    for (const std::string& part :
         {"pid_file: \"" + (folder / "pid") + "\" can't be used: it has another name as well, a hard link",
          "pid_file: \"" + (folder / "pid.ctl") +
              "\" can't be used: the path leads to a file that is no socket",
          "log.output: \"" + (folder / "log") + "\" can't be used: it is no regular file",
          "listeners.a.listen: \"" + (folder / "s") + "\" can't be used: it is a symbolic link"})
        BOOST_TEST(found.find(part) != std::string::npos, part << " in " << found);
    BOOST_TEST(load(source, folder / "main.yaml").problems.empty());
}

// Who looks may be root, and who serves not; with `user` it is root as well.
BOOST_AUTO_TEST_CASE(files_of_others_are_warned_of_where_root_will_serve) {
    if (::geteuid() != 0) return;
    const Folder folder;  // in /tmp, where everybody may write
    const std::string text =
        "pid_file: pid\nlisteners: {a: {listen: unix:s, unix: {owner: nobody}, handler: echo}}\n";
    folder.write("pid", "");
    const Address address = *Address::parse("unix:" + (folder / "s"), false);
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    BOOST_REQUIRE(::bind(socket.get(), address.get(), address.length()) == 0);
    for (const char* name : {"pid", "s"}) BOOST_REQUIRE(::chown((folder / name).c_str(), 65534, 65534) == 0);
    const auto warnings_with = [&](const std::string& user) {
        folder.write("main.yaml", user + text);
        FileSource source;
        return load(source, folder / "main.yaml", Purpose::check).warnings;
    };
    BOOST_TEST(warnings_with("").empty());
    const auto warnings = warnings_with("user: nobody\n");
    BOOST_REQUIRE(warnings.size() == 1U);
    BOOST_TEST(warnings[0].find("pid_file: \"" + (folder / "pid") +
                                "\": it belongs to user 65534, and others may write its folder; a tcpd that "
                                "root starts refuses it") != std::string::npos,
               warnings[0]);
}

BOOST_AUTO_TEST_CASE(framings_alone_need_no_listener) {
    const Folder folder;
    folder.write("main.yaml", "framings: {mine: {fixed: 4B}}\nuser: nobody-of-that-name\n");
    FileSource source;
    const Loaded loaded = load(source, folder / "main.yaml", Purpose::cut_frames);
    BOOST_TEST(loaded.problems.empty());
    BOOST_TEST(loaded.config.framings.size() == 1U);
    BOOST_TEST(load(source, folder / "main.yaml", Purpose::check).problems.size() == 2U);
}

BOOST_AUTO_TEST_CASE(only_root_can_become_somebody_else) {
    const Folder folder;
    folder.write("main.yaml", "user: root\n" + with_listener(kFine));
    folder.write("self.yaml", "user: nobody\n" + with_listener(kFine));
    BOOST_TEST(holds_as_nobody([&] {
        FileSource source;
        return problems_of(load(source, folder / "main.yaml")) ==
               folder /
                   "main.yaml:1:1: user: only root can become \"root\" (start as root, or leave this out)\n";
    }));
    if (::geteuid() != 0) return;
    BOOST_TEST(holds_as_nobody([&] {
        FileSource source;
        const Loaded loaded = load(source, folder / "self.yaml");
        return loaded.problems.empty() && loaded.warnings.empty();
    }));
}

BOOST_AUTO_TEST_CASE(the_shipped_examples_are_fine_for_everybody) {
    const auto examples = std::filesystem::path(__FILE__).parent_path() / "../../../conf/examples";
    const Folder folder;  // where everybody may read
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(examples)) {
        const std::string name = entry.path().filename();
        std::filesystem::copy_file(entry.path(), folder / name);
        if (name.ends_with(".yaml")) names.push_back(name);  // others are what these name
    }
    BOOST_TEST(names.size() >= 5U);
    for (const std::string& name : names) {
        FileSource source;
        const Loaded loaded = load(source, folder / name);
        BOOST_TEST(problems_of(loaded) == "");
        folder.write("dumped", dump(loaded.config));
        FileSource again;
        Loaded reloaded = load(again, folder / "dumped");
        reloaded.config.path = loaded.config.path;
        BOOST_TEST((reloaded.problems.empty() && reloaded.config == loaded.config), name);
        BOOST_TEST(holds_as_nobody([&] {
                       FileSource theirs;
                       return load(theirs, folder / name).problems.empty();
                   }),
                   name);
    }
}

BOOST_AUTO_TEST_SUITE_END()
