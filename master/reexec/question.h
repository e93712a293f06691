#pragma once

// One question to a program: a child runs it with some arguments, and what it wrote is the answer, if it
// ended with 0 within five seconds. Master only; nothing waits for it: the loop goes on. Owns the child: the
// destructor ends it. If the master dies in here, the child ends by itself. Source: execveat(2), waitid(2).

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/base/unique_fd.h"
#include "daemon/base/watcher.h"
#include "master/crew/children.h"

namespace tcpd::master {

class Question {
public:
    using OnAnswer = std::function<void(Result<std::string>)>;
    // `doing` names the question in errors. `on_answer` may destroy this.
    Question(struct ev_loop* loop, std::string doing, OnAnswer on_answer);
    Question(const Question&) = delete;
    ~Question();

    // The child has the descriptors `kept` as well. An Error: it could not be asked, and there is no answer.
    Result<void> ask(int program, std::vector<std::string> arguments, const std::vector<int>& kept);
    pid_t child() const { return child_; }
    // Of its child, which is reaped right after.
    void on_end(const Death& death);

private:
    void on_output();
    void on_timeout();

    std::string doing_;
    OnAnswer on_answer_;
    pid_t child_ = 0;
    bool is_late_ = false;
    UniqueFd output_;
    std::string text_;
    IoWatcher<Question, &Question::on_output> readable_;
    TimerWatcher<Question, &Question::on_timeout> limit_;
};

}  // namespace tcpd::master
