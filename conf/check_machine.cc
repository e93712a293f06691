#include <fmt/core.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>

#include "conf/check.h"
#include "conf/check_loops.h"
#include "daemon/base/control_request.h"
#include "daemon/base/net/backlog.h"
#include "daemon/base/net/families.h"
#include "daemon/base/owned_folder.h"
#include "daemon/base/process.h"
#include "daemon/base/text.h"

namespace tcpd::conf {

namespace {

void check_account(Draft& draft, const std::string& key_path, const char* what, const std::string& name,
                   const Error& error) {
    if (error.code == ErrorCode::not_found)
        draft.add_problem(
            key_path, fmt::format("there is no {} {} on this machine (create it, or leave this out)", what,
                                  tcpd::quoted(name)));
    else
        draft.add_problem(key_path,
                          fmt::format("cannot look up {} {}: {}", what, tcpd::quoted(name), error.cause()));
}

void check_user(Draft& draft) {
    const std::string& name = draft.config.user;
    const bool is_root = ::geteuid() == 0;
    if (name.empty()) {
        if (is_root && draft.purpose == Purpose::serve)
            draft.warnings.push_back(
                draft.config.path +
                ": warning: running as root without a user: the workers keep root's rights (set user: NAME)");
        return;
    }
    const Result<User> user = find_user(name);
    if (!user) return check_account(draft, "user", "user", name, user.error());
    if (!is_root && user->uid != ::geteuid())
        draft.add_problem("user", fmt::format("only root can become {} (start as root, or leave this out)",
                                              tcpd::quoted(name)));
}

void check_owners(Draft& draft, const Listener& listener) {
    const std::string key_path = below("listeners", listener.name) + ".unix";
    const UnixSocket& socket = listener.unix_socket;
    if (!socket.owner.empty()) {
        const Result<User> owner = find_user(socket.owner);
        if (!owner) check_account(draft, key_path + ".owner", "user", socket.owner, owner.error());
    }
    if (!socket.group.empty()) {
        const Result<gid_t> group = find_group(socket.group);
        if (!group) check_account(draft, key_path + ".group", "group", socket.group, group.error());
    }
}

// Why a file can't be made at this path; empty if nothing is in the way. A folder that is missing may be made until
// then.
struct Obstacle {
    std::string text;
    bool is_missing = false;
};

Obstacle obstacle(const std::string& path) {
    struct stat about {};
    if (::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode))
        return {fmt::format("{} is a folder (a file's path is needed)", tcpd::quoted(path))};
    const std::string folder = std::filesystem::path(path).parent_path().string();
    if (::stat(folder.c_str(), &about) != 0) {
        if (errno == ENOENT)
            return {fmt::format("the folder {} is not there (create it)", tcpd::quoted(folder)), true};
        return {
            fmt::format("the folder {} cannot be reached: {}", tcpd::quoted(folder), std::strerror(errno))};
    }
    return {S_ISDIR(about.st_mode) ? std::string() : fmt::format("{} is not a folder", tcpd::quoted(folder))};
}

// A file that tcpd is to make.
struct Wanted {
    Place place;
    std::string key_path, path;
    FileUse use = FileUse::log;
    uid_t owner = ::geteuid();  // who else than the master it may belong to
};

void warn_of(Draft& draft, const Wanted& wanted, const std::string& text) {
    draft.warnings.push_back(fmt::format("{}:{}:{}: warning: {}: {}", wanted.place.file,
                                         wanted.place.mark.line, wanted.place.mark.column, wanted.key_path,
                                         text));
}

// What the start would refuse to open, empty or replace there. Whose it may be depends on who will serve, which may be
// another user than the one who looks.
void check_use(Draft& draft, const Wanted& wanted) {
    if (draft.purpose != Purpose::check) return;  // it is opened next, or open already
    const LastLink last = wanted.use == FileUse::log ? LastLink::followed : LastLink::kept;
    const auto place = FilePlace::find(wanted.path, last);
    if (!place && place.error().sys_errno != 0) return;  // who may not look there is told so by the start
    const auto there = place ? place->status() : Result<std::optional<struct stat>>(std::nullopt);
    const bool is_there = there && *there;
    const std::string fault = !place     ? place.error().reason
                              : is_there ? place->fault_of(**there, wanted.use)
                                         : "";
    if (!fault.empty())
        return draft.add_problem(wanted.place, wanted.key_path,
                                 fmt::format("{} can't be used: {} (move it away, or name another path)",
                                             tcpd::quoted(wanted.path), fault));
    if (!is_there || wanted.use == FileUse::log || ::geteuid() != 0 || draft.config.user.empty()) return;
    const std::string strange = place->strangeness_of(**there, wanted.owner);
    if (!strange.empty())
        warn_of(draft, wanted,
                fmt::format(
                    "{}: {}; a tcpd that root starts refuses it (move it away, or give the folder to root)",
                    tcpd::quoted(wanted.path), strange));
}

void check_path(Draft& draft, const Wanted& wanted) {
    const Obstacle found = obstacle(wanted.path);
    if (found.text.empty()) return check_use(draft, wanted);
    if (!found.is_missing || draft.purpose == Purpose::serve)
        return draft.add_problem(wanted.place, wanted.key_path, found.text);
    warn_of(draft, wanted, found.text);
}

void check_files(Draft& draft) {
    const Config& config = draft.config;
    if (!config.pid_file.empty()) {
        Wanted file{draft.place_of("pid_file"), "pid_file", config.pid_file, FileUse::pid_file};
        check_path(draft, file);
        file.path = control::socket_path(config.pid_file);
        file.use = FileUse::socket;
        check_use(draft, file);
    }
    if (config.log.output != "stderr")
        check_path(draft, {draft.place_of("log.output"), "log.output", config.log.output, FileUse::log});
}

void check_socket(Draft& draft, const Bound& bound) {
    if (!bound.address.is_unix()) return;
    Wanted file{bound.place, bound.key_path, bound.address.path(), FileUse::socket};
    const std::string& owner = draft.config.listeners[bound.listener].unix_socket.owner;
    if (!owner.empty()) {
        const Result<User> user = find_user(owner);
        if (user) file.owner = user->uid;
    }
    check_path(draft, file);
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
    return std::find(list.begin(), list.end(), item) != list.end();
}

// Who may write the file can let anyone in; who may read it can try tokens without asking us.
void warn_of_loose_modes(Draft& draft) {
    constexpr mode_t kLoose = S_IWGRP | S_IRWXO;
    std::set<std::string> seen;
    for (const Listener& listener : draft.config.listeners) {
        const std::string& path = listener.auth.tokens_path;
        struct stat about {};
        if (!contains(draft.files(), path) || !seen.insert(path).second) continue;  // what was read
        if (::stat(path.c_str(), &about) != 0) continue;
        if ((about.st_mode & kLoose) != 0)
            draft.warnings.push_back(
                fmt::format("{}: warning: its mode is {:04o}, and tokens are for tcpd alone "
                            "(chmod 0640, or less)",
                            path, about.st_mode & 07777));
    }
}

// One warning, however many places it is true of.
class Warning {
public:
    void add(const Place& place, const std::string& key_path, const std::string& text) {
        if (count_++ == 0)
            text_ = fmt::format("{}:{}:{}: warning: {}: {}", place.file, place.mark.line, place.mark.column,
                                key_path, text);
    }
    void give_to(Draft& draft) const {
        if (count_ == 0) return;
        draft.warnings.push_back(count_ == 1 ? text_
                                             : fmt::format("{}; and {} more such", text_, count_ - 1));
    }

private:
    size_t count_ = 0;
    std::string text_;
};

// One that is open already stays so, whatever this machine has now: no reason to refuse a reload.
void warn_of_lacking_family(Draft& draft, int family) {
    if (machine_has(family)) return;
    const char version = family == AF_INET6 ? '6' : '4';
    Warning left_out, hopeless;
    for (const Bound& bound : draft.bound) {
        const Address& address = bound.address;
        if (address.family() != family) continue;
        if (address.is_of_star())
            left_out.add(bound.place, bound.key_path,
                         fmt::format("{} of *:{} is left out: this machine has no IPv{}", address.text(),
                                     address.port(), version));
        else
            hopeless.add(
                bound.place, bound.key_path,
                fmt::format("{} can't be listened on, tcpd will not start: this machine has no IPv{} "
                            "(take it out; *:{} is what there is)",
                            address.text(), version, address.port()));
    }
    left_out.give_to(draft);
    hopeless.give_to(draft);
}

// The master holds a socket for each address and worker.
void warn_of_few_descriptors(Draft& draft) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || draft.config.master_descriptors() <= limit.rlim_max)
        return;
    draft.warnings.push_back(fmt::format(
        "{}: warning: tcpd needs {} descriptors, {} of them for listeners, one for each address and "
        "worker, and the limit of open files is {} here (ulimit -Hn, LimitNOFILE= of the unit)",
        draft.config.path, draft.config.master_descriptors(), draft.config.listening_sockets(),
        limit.rlim_max));
}

// listen(2) takes less without a word. Passed sockets may be of another network: they are asked themselves.
void warn_of_cut_backlogs(Draft& draft) {
    const std::optional<uint64_t> most = most_backlog();
    if (!most) return;
    Warning cut;
    for (const Listener& listener : draft.config.listeners) {
        const bool is_ours = std::any_of(listener.listen.begin(), listener.listen.end(),
                                         [](const Address& a) { return !a.is_inherited(); });
        if (!is_ours || listener.backlog <= *most) continue;
        const std::string key_path = below("listeners", listener.name) + ".backlog";
        cut.add(draft.place_of(key_path), key_path,
                fmt::format("{} is more than net.core.somaxconn, so the kernel takes {} (sysctl "
                            "net.core.somaxconn={})",
                            listener.backlog, *most, listener.backlog));
    }
    cut.give_to(draft);
}

}  // namespace

void check_machine(Draft& draft) {
    const Config& config = draft.config;
    check_user(draft);
    check_files(draft);
    warn_of_loose_modes(draft);
    for (const int family : {AF_INET, AF_INET6}) warn_of_lacking_family(draft, family);
    warn_of_few_descriptors(draft);
    warn_of_cut_backlogs(draft);
    if (draft.problem_count() == 0) check_loops(draft, is_of_this_machine);
    for (const Listener& listener : config.listeners) check_owners(draft, listener);
    for (const Bound& bound : draft.bound) check_socket(draft, bound);
}

}  // namespace tcpd::conf
