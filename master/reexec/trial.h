#pragma once

// Is what now lies at the program's path fit to take over? Opened once, so that what was tried is what runs
// later; asked for its formats, then to check the configuration; then it takes over for a try, from a copy of
// the master's state. Master only, beside all else that it does. Source: ld.so(8); docs/survival.md.

#include <functional>
#include <memory>
#include <string>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "master/reexec/demands.h"
#include "master/reexec/question.h"
#include "master/reexec/state.h"

namespace tcpd::master {

// The line of `tcpd -V` that says what a program can read of another, and what its parts of slot memory take.
std::string formats_line();

// What is fit to take over.
struct CheckedProgram {
    UniqueFd program;
    uint32_t level = 0;
};

// One at a time.
class Trial {
public:
    using OnChecked = std::function<void(Result<CheckedProgram>)>;
    using OnProbed = std::function<void(const Result<void>&)>;
    explicit Trial(struct ev_loop* loop) : loop_(loop) {}

    // An Error says what it could not do, in its own words where it had any.
    void check(const std::string& path, const std::string& config_path, Demands demands,
               OnChecked on_checked);
    // A child takes over from a copy of `state`, as far as it can be done twice.
    void probe(int program, const MasterState& state, OnProbed on_probed);
    // True: it was the trial's.
    bool take_death(const Death& death);
    // Nobody is told any more.
    void abandon() { question_.reset(); }

private:
    void ask(int program, std::string doing, std::vector<std::string> arguments, const std::vector<int>& kept,
             Question::OnAnswer on_answer);
    void on_version(Result<std::string> answer);
    void on_config_checked(Result<std::string> answer);
    struct ev_loop* loop_;
    std::unique_ptr<Question> question_;
    std::string path_, config_path_;
    Demands demands_;
    CheckedProgram checked_;
    OnChecked on_checked_;
};

}  // namespace tcpd::master
